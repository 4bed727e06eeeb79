//! Searching, with objectives of the user's own.
//!
//! The search runs on threads of the pool. What is Python's, objectives, the callback and Ctrl-C, stays
//! with the thread that called: others send it what is to be done.

use super::convert::counts;
use super::error::Failure;
use super::estimator::Estimator;
use super::pool;
use super::space::Space;
use super::super_network::SuperNetwork;
use crate::cli::search::AlgorithmName;
use crate::cli::search::measures::{self, Constraint, Objective};
use crate::search::{
    CandidateNetwork, Direction, Evaluated, EvaluationError, Evaluator, Interrupted, Limits, Next,
    Problem, Record, Search, SearchError, SearchSpace, Start, Stop,
};
use clap::ValueEnum;
use numpy::PyArray1;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long Ctrl-C may go unheard.
const TICK: Duration = Duration::from_millis(50);

/// Most time that a command may take to measure one network.
const COMMAND_LIMIT: Duration = Duration::from_secs(3600);

/// What a search left behind.
#[pyclass(frozen, module = "gennape")]
pub(super) struct SearchResult {
    /// Every distinct network in the order of evaluation.
    #[pyo3(get)]
    architectures: Vec<String>,
    /// Measures by name; not a number where a constraint made one needless.
    #[pyo3(get)]
    measures: Py<PyDict>,
    /// Positions of the networks that no other beats, from the best in the first objective on.
    #[pyo3(get)]
    front: Py<PyArray1<i64>>,
    /// Whether each keeps the constraints.
    #[pyo3(get)]
    feasible: Py<PyArray1<bool>>,
    /// Why it ended: budget, exhausted or interrupted.
    #[pyo3(get)]
    stop: &'static str,
    /// Distinct candidates, those of one computation graph too.
    #[pyo3(get)]
    candidates: usize,
    /// What went wrong with single candidates.
    #[pyo3(get)]
    faults: Vec<String>,
}

#[pymethods]
impl SearchResult {
    fn __len__(&self) -> usize {
        self.architectures.len()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let front = self.front.bind(py).len()?;
        let (count, stop) = (self.architectures.len(), self.stop);
        Ok(format!("SearchResult({count} networks, {front} on the front, stop={stop:?})"))
    }
}

/// How far a search is.
#[pyclass(frozen, module = "gennape")]
pub(super) struct Progress {
    /// Networks that were evaluated.
    #[pyo3(get)]
    evaluated: usize,
    /// Most that will be.
    #[pyo3(get)]
    budget: usize,
    /// Those that are new.
    #[pyo3(get)]
    architectures: Vec<String>,
    /// Their measures by name.
    #[pyo3(get)]
    measures: Py<PyDict>,
}

/// What the calling thread is asked to do.
enum Request {
    /// To measure these by the objective of this number.
    Measure(usize, Vec<String>, Sender<Result<Vec<f64>, EvaluationError>>),
    /// To tell of new networks.
    Progress { evaluated: usize, news: Table },
}

/// Networks and their measures.
struct Table {
    architectures: Vec<String>,
    values: Vec<Vec<f64>>,
}

impl Table {
    fn of<C: ToString>(evaluated: &[Evaluated<C>], measures: usize) -> Self {
        let value = |e: &Evaluated<C>, m: usize| e.values.get(m).copied().flatten();
        let column = |m| evaluated.iter().map(|e| value(e, m).unwrap_or(f64::NAN)).collect();
        Self {
            architectures: evaluated.iter().map(|e| e.candidate.to_string()).collect(),
            values: (0..measures).map(column).collect(),
        }
    }

    fn measures(self, py: Python<'_>, names: &[String]) -> PyResult<Py<PyDict>> {
        let measures = PyDict::new(py);
        for (name, values) in names.iter().zip(self.values) {
            measures.set_item(name, PyArray1::from_vec(py, values))?;
        }
        Ok(measures.unbind())
    }
}

/// An objective of the user's, which the calling thread measures.
struct Asked {
    number: usize,
    batch: usize,
    requests: Mutex<Sender<Request>>,
    stopped: Arc<AtomicBool>,
}

impl Evaluator for Asked {
    fn evaluate(&self, networks: &[CandidateNetwork]) -> Result<Vec<f64>, EvaluationError> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(Interrupted.into());
        }
        let texts = networks.iter().map(|network| network.architecture.clone()).collect();
        let (reply, answer) = mpsc::channel();
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.send(Request::Measure(self.number, texts, reply)).map_err(|_| Interrupted)?;
        drop(requests);
        answer.recv().map_err(|_| Interrupted)?
    }

    fn batch(&self) -> usize {
        self.batch
    }
}

/// An objective as Python gives it.
enum Given {
    Named(Objective),
    Own { name: String, function: Py<PyAny>, direction: Direction },
}

impl Given {
    /// `"accuracy:max"`, a function, `(function, "min")` or `(name, function, "min")`.
    fn extract(objective: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = objective.py();
        let wrong = |message: String| Failure::new(&message).raise(py);
        if let Ok(text) = objective.extract::<String>() {
            return text.parse().map(Self::Named).map_err(wrong);
        }
        let (name, function, direction) = if objective.is_callable() {
            (None, objective.clone(), "max".to_string())
        } else if let Ok((function, direction)) = objective.extract::<(Bound<'_, PyAny>, String)>()
        {
            (None, function, direction)
        } else {
            let (name, function, direction) =
                objective.extract::<(String, Bound<'_, PyAny>, String)>()?;
            (Some(name), function, direction)
        };
        let direction = match direction.as_str() {
            "max" => Direction::Maximise,
            "min" => Direction::Minimise,
            other => return Err(wrong(format!("'{other}' is neither max nor min"))),
        };
        if !function.is_callable() {
            return Err(wrong(format!("{} can't be called", function.repr()?)));
        }
        let named = || function.getattr("__name__").and_then(|name| name.extract());
        let name = name.or_else(|| named().ok()).unwrap_or_else(|| "objective".into());
        Ok(Self::Own { name, function: function.unbind(), direction })
    }
}

/// Searches a space, as `gennape search` does.
#[pyfunction]
#[pyo3(signature = (
    space, objectives=None, *, constraints=Vec::new(), algorithm=None, budget=2000, seed=0,
    start=Vec::new(), model=None, batch=32, callback=None
))]
#[allow(clippy::too_many_arguments)]
pub(super) fn search(
    py: Python<'_>,
    space: &Bound<'_, PyAny>,
    objectives: Option<Vec<Bound<'_, PyAny>>>,
    constraints: Vec<String>,
    algorithm: Option<&str>,
    #[pyo3(from_py_with = counts)] budget: usize,
    #[pyo3(from_py_with = counts)] seed: u64,
    start: Vec<String>,
    model: Option<&Bound<'_, PyAny>>,
    #[pyo3(from_py_with = counts)] batch: usize,
    callback: Option<Py<PyAny>>,
) -> PyResult<SearchResult> {
    let wrong = |message: String| Failure::new(&message).raise(py);
    let estimator = Estimator::given(model)?;
    let given = match &objectives {
        None => ["accuracy:max", "macs:min"]
            .into_iter()
            .map(|text| text.parse().map(Given::Named).map_err(wrong))
            .collect::<PyResult<Vec<_>>>()?,
        Some(given) => given.iter().map(Given::extract).collect::<PyResult<_>>()?,
    };
    if given.is_empty() {
        return Err(wrong("there is no objective".into()));
    }
    if budget == 0 || batch == 0 {
        let what = if budget == 0 { "budget" } else { "batch" };
        return Err(wrong(format!("{what} must be at least 1")));
    }
    let constraints = constraints.iter().map(|text| text.parse().map_err(wrong));
    let algorithm = match algorithm {
        None => AlgorithmName::usual(given.len()),
        Some(name) => AlgorithmName::from_str(name, false).map_err(|_| {
            let names = AlgorithmName::value_variants().iter();
            let names = names.filter_map(|n| Some(n.to_possible_value()?.get_name().to_string()));
            let names = names.collect::<Vec<_>>().join(", ");
            let failure = Failure::new(&format!("there is no algorithm '{name}'"));
            failure.hint(format!("give one of {names}")).raise(py)
        })?,
    };
    let job = Job {
        given,
        constraints: constraints.collect::<PyResult<_>>()?,
        algorithm,
        limits: Limits { budget, seed },
        batch,
        estimator,
        callback,
    };
    if let Ok(network) = space.cast::<SuperNetwork>() {
        let network = network.get();
        let parse = |text: &String| network.space.parse(text).map_err(|e| Failure::from_error(&e));
        let start: Result<Vec<_>, _> = start.iter().map(parse).collect();
        return job.run(py, &network.space, start.map_err(|f| f.raise(py))?);
    }
    let known = Space::required(space)?;
    let parse = |text: &String| known.text(text).map_err(|e| Failure::from_error(&e));
    let start: Result<Vec<_>, _> = start.iter().map(parse).collect();
    job.run(py, &known, start.map_err(|f| f.raise(py))?)
}

/// A search that was asked for.
struct Job {
    given: Vec<Given>,
    constraints: Vec<Constraint>,
    algorithm: AlgorithmName,
    limits: Limits,
    batch: usize,
    estimator: Arc<crate::estimator::Estimator>,
    callback: Option<Py<PyAny>>,
}

impl Job {
    fn run<S: SearchSpace>(
        &self,
        py: Python<'_>,
        space: &S,
        start: Vec<S::Candidate>,
    ) -> PyResult<SearchResult>
    where
        S::Candidate: 'static,
    {
        let pool = pool::pool(py)?;
        let (requests, asked) = mpsc::channel();
        let stopped = Arc::new(AtomicBool::new(false));
        let problem = self.problem(&requests, &stopped).map_err(|f| f.raise(py))?;
        let names: Vec<String> = problem.measures().map(str::to_string).collect();
        let (named, told) = (&names[..], self.callback.is_some());
        let count = names.len();
        let algorithm = |space: &S| -> Result<_, Failure> {
            self.algorithm.algorithm(space, &self.estimator).map_err(|e| Failure::new(&e.to_line()))
        };
        let flag = stopped.clone();
        let limits = self.limits;
        let work = move || -> Result<Record<S::Candidate>, Ended> {
            let mut algorithm = algorithm(space).map_err(Ended::Failure)?;
            let mut evaluated = 0;
            let mut observe = |news: &[Evaluated<S::Candidate>]| {
                evaluated += news.iter().filter(|e| e.fitness.violation == 0.0).count();
                if told {
                    let news = Table::of(news, count);
                    let _ = requests.send(Request::Progress { evaluated, news });
                }
                if flag.load(Ordering::Relaxed) { Next::Stop } else { Next::Continue }
            };
            let start = Start { candidates: start, ..Start::default() };
            let search = Search::new(space, &problem).algorithm(algorithm.as_mut()).start(start);
            let search = search.budget(limits.budget).seed(limits.seed);
            search.observed(&mut observe).map_err(Ended::Search)
        };
        let (record, raised) = py.detach(move || {
            thread::scope(|scope| {
                let search = scope.spawn(|| pool.install(work));
                let raised = self.serve(&asked, named, &stopped);
                (search.join(), raised)
            })
        });
        if let Some(error) = raised {
            return Err(error);
        }
        let record = match record {
            Ok(Ok(record)) => record,
            Ok(Err(Ended::Failure(failure))) => return Err(failure.raise(py)),
            Ok(Err(Ended::Search(error))) => return Err(Failure::from_error(&error).raise(py)),
            Err(_) => return Err(Failure::new("the search has failed").raise(py)),
        };
        result(py, &record, &names)
    }

    fn problem(
        &self,
        requests: &Sender<Request>,
        stopped: &Arc<AtomicBool>,
    ) -> Result<Problem<'_>, Failure> {
        let mut problem = Problem::new();
        let mut named = Vec::new();
        let own = self.given.iter().enumerate();
        for (number, given) in own {
            match given {
                Given::Named(objective) => named.push(objective.clone()),
                Given::Own { name, direction, .. } => {
                    let asked = Asked {
                        number,
                        batch: self.batch,
                        requests: Mutex::new(requests.clone()),
                        stopped: stopped.clone(),
                    };
                    problem = problem.objective(name, *direction, asked);
                }
            }
        }
        let known = (&named[..], &self.constraints[..]);
        let all = measures::problem(problem, known.0, known.1, &self.estimator, COMMAND_LIMIT);
        all.map_err(|e| Failure::new(&e.to_line()))
    }

    /// Does what the search asks for until it has ended; the exception that a function raised.
    fn serve(
        &self,
        asked: &Receiver<Request>,
        names: &[String],
        stopped: &AtomicBool,
    ) -> Option<PyErr> {
        let mut raised = None;
        let mut hear = |error: PyErr, py: Python<'_>| {
            stopped.store(true, Ordering::Relaxed);
            if !error.is_instance_of::<PyKeyboardInterrupt>(py) {
                raised.get_or_insert(error);
            }
        };
        loop {
            let request = asked.recv_timeout(TICK);
            if matches!(request, Err(RecvTimeoutError::Disconnected)) {
                break;
            }
            Python::attach(|py| {
                if let Err(error) = py.check_signals() {
                    hear(error, py);
                }
                match request {
                    Ok(Request::Measure(number, texts, reply)) => {
                        let answer = match stopped.load(Ordering::Relaxed) {
                            true => Err(Interrupted.into()),
                            false => self.measure(py, number, texts).map_err(|error| {
                                hear(error, py);
                                Interrupted.into()
                            }),
                        };
                        let _ = reply.send(answer);
                    }
                    Ok(Request::Progress { evaluated, news }) => {
                        match self.tell(py, evaluated, news, names) {
                            Ok(true) => {}
                            Ok(false) => stopped.store(true, Ordering::Relaxed),
                            Err(error) => hear(error, py),
                        }
                    }
                    Err(_) => {}
                }
            });
        }
        raised
    }

    fn measure(&self, py: Python<'_>, number: usize, texts: Vec<String>) -> PyResult<Vec<f64>> {
        let Some(Given::Own { name, function, .. }) = self.given.get(number) else {
            return Ok(Vec::new());
        };
        let count = texts.len();
        let answer = function.bind(py).call1((texts,))?;
        let numbers = answer.try_iter()?.map(|number| number?.extract::<f64>());
        let numbers = numbers.collect::<PyResult<Vec<f64>>>()?;
        match numbers.len() == count {
            true => Ok(numbers),
            false => {
                let got = numbers.len();
                let message = format!("{name} returns {got} numbers for {count} architectures");
                Err(Failure::new(&message).raise(py))
            }
        }
    }

    /// Calls the callback, whose answer `False` ends the search.
    fn tell(
        &self,
        py: Python<'_>,
        evaluated: usize,
        news: Table,
        names: &[String],
    ) -> PyResult<bool> {
        let Some(callback) = &self.callback else { return Ok(true) };
        let architectures = news.architectures.clone();
        let measures = news.measures(py, names)?;
        let budget = self.limits.budget;
        let progress = Progress { evaluated, budget, architectures, measures };
        let answer = callback.bind(py).call1((progress,))?;
        Ok(answer.is_none() || answer.is_truthy()?)
    }
}

/// Why there is no record.
enum Ended {
    Failure(Failure),
    Search(SearchError),
}

fn result<C: ToString>(
    py: Python<'_>,
    record: &Record<C>,
    names: &[String],
) -> PyResult<SearchResult> {
    let table = Table::of(&record.history, names.len());
    let at = |wanted: &&Evaluated<C>| {
        let found = record.history.iter().position(|e| std::ptr::eq(e, *wanted));
        found.and_then(|i| i64::try_from(i).ok())
    };
    let front: Vec<i64> = record.front().iter().filter_map(at).collect();
    let feasible = record.history.iter().map(|e| e.fitness.violation == 0.0).collect();
    Ok(SearchResult {
        architectures: table.architectures.clone(),
        measures: table.measures(py, names)?,
        front: PyArray1::from_vec(py, front).unbind(),
        feasible: PyArray1::from_vec(py, feasible).unbind(),
        stop: match record.stop {
            Stop::Budget => "budget",
            Stop::Exhausted => "exhausted",
            Stop::Interrupted => "interrupted",
        },
        candidates: record.candidates,
        faults: record.faults.iter().map(ToString::to_string).collect(),
    })
}
