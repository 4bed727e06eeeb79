//! What a search is after, as an arithmetic expression.

use std::fmt::{self, Display};
use std::iter::Peekable;
use std::str::{CharIndices, FromStr};

/// Most brackets and signs inside each other.
const DEPTH: usize = 64;

/// The names that stand for measures, as errors tell them.
const KNOWN: &str = "accuracy, parameters, macs, latency=DEVICE, latency='FILE', cmd:'COMMAND'";

/// A reward: numbers, measures, `+ - * / ^`, brackets, and `min` and `max` of several terms.
///
/// `accuracy` is a share between 0 and 1; `parameters` and `macs` count in millions; `latency=NAME` is
/// in the model's or table's unit (milliseconds in the program's own), and `cmd:'COMMAND'` whatever the
/// command prints. A NAME ends at white space, at a bracket, and at a comma, `*`, `/`, `+` or `^`, not at
/// `-`; in quotes it may hold anything, as a path does.
///
/// ```
/// # use gennape::supernet::Reward;
/// let reward: Reward = "accuracy * max(1, latency=rtx4090/2) ^ -0.07 - 0.1*parameters".parse()?;
/// assert_eq!(reward.measures(), ["latency=rtx4090", "parameters"]);
/// assert_eq!(reward.value(0.9, &[1.0, 2e6]), 0.7);
/// let error = "accuracy - * 2".parse::<Reward>().unwrap_err();
/// assert!(error.to_string().starts_with("character 12: expected a number, a measure"));
/// # Ok::<(), gennape::supernet::RewardError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Reward {
    text: String,
    expression: Expression,
    measures: Vec<String>,
}

/// Why a text is no reward.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("character {at}: {problem}")]
pub struct RewardError {
    /// Where, from 1.
    pub at: usize,
    /// What is wrong there.
    pub problem: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Expression {
    Number(f64),
    Accuracy,
    /// A measure by its position, and how much one of its units counts.
    Measure(usize, f64),
    Negative(Box<Expression>),
    Two(char, Box<Expression>, Box<Expression>),
    Least(Vec<Expression>),
    Most(Vec<Expression>),
}

impl Reward {
    /// The measures beside accuracy, each once: `parameters`, `macs`, `latency=…`, `cmd:…`.
    pub fn measures(&self) -> &[String] {
        &self.measures
    }

    /// The reward of a network with this accuracy and these measures, in the order of
    /// [`measures`](Self::measures) and in units of one.
    pub fn value(&self, accuracy: f64, measures: &[f64]) -> f64 {
        self.expression.value(accuracy, measures)
    }
}

impl Expression {
    fn value(&self, accuracy: f64, measures: &[f64]) -> f64 {
        let value = |e: &Self| e.value(accuracy, measures);
        match self {
            Self::Number(number) => *number,
            Self::Accuracy => accuracy,
            Self::Measure(index, unit) => measures.get(*index).map_or(f64::NAN, |m| m * unit),
            Self::Negative(e) => -value(e),
            Self::Two(sign, a, b) => {
                let (a, b) = (value(a), value(b));
                match sign {
                    '+' => a + b,
                    '-' => a - b,
                    '*' => a * b,
                    '/' => a / b,
                    _ => a.powf(b),
                }
            }
            Self::Least(list) => list.iter().map(value).fold(f64::INFINITY, f64::min),
            Self::Most(list) => list.iter().map(value).fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

impl Display for Reward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Reward {
    type Err = RewardError;

    fn from_str(text: &str) -> Result<Self, RewardError> {
        let mut parser =
            Parser { text, rest: text.char_indices().peekable(), measures: Vec::new() };
        let expression = parser.sum(0)?;
        if parser.next_is(|_| true) {
            return Err(parser.expected("+, -, *, /, ^ or the end"));
        }
        Ok(Self { text: text.into(), expression, measures: parser.measures })
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: Peekable<CharIndices<'a>>,
    measures: Vec<String>,
}

type Parsed = Result<Expression, RewardError>;

impl Parser<'_> {
    /// Byte position of what comes next.
    fn position(&mut self) -> usize {
        self.rest.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn fail(&self, position: usize, problem: String) -> RewardError {
        let at = self.text.get(..position).map_or(0, |before| before.chars().count()) + 1;
        RewardError { at, problem }
    }

    /// Something else was expected than what comes next.
    fn expected(&mut self, what: &str) -> RewardError {
        let position = self.position();
        let found = match self.rest.peek() {
            Some((_, c)) => format!("'{c}'"),
            None => "the end".into(),
        };
        self.fail(position, format!("expected {what} instead of {found}"))
    }

    /// Whether what comes after white space is such a character.
    fn next_is(&mut self, wanted: impl Fn(char) -> bool) -> bool {
        while self.rest.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        self.rest.peek().is_some_and(|(_, c)| wanted(*c))
    }

    /// The next character, if it is such a one.
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> Option<char> {
        if self.next_is(wanted) { self.rest.next().map(|(_, c)| c) } else { None }
    }

    /// All characters from here that are such ones.
    fn run(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut run = String::new();
        while let Some((_, c)) = self.rest.next_if(|(_, c)| wanted(*c)) {
            run.push(c);
        }
        run
    }

    fn sum(&mut self, depth: usize) -> Parsed {
        let mut left = self.product(depth)?;
        while let Some(sign) = self.take(|c| matches!(c, '+' | '-')) {
            left = Expression::Two(sign, Box::new(left), Box::new(self.product(depth)?));
        }
        Ok(left)
    }

    fn product(&mut self, depth: usize) -> Parsed {
        let mut left = self.signed(depth)?;
        while let Some(sign) = self.take(|c| matches!(c, '*' | '/')) {
            left = Expression::Two(sign, Box::new(left), Box::new(self.signed(depth)?));
        }
        Ok(left)
    }

    fn signed(&mut self, depth: usize) -> Parsed {
        if depth > DEPTH {
            let position = self.position();
            return Err(self.fail(position, format!("more than {DEPTH} terms inside each other")));
        }
        if self.take(|c| c == '-').is_some() {
            return Ok(Expression::Negative(Box::new(self.signed(depth + 1)?)));
        }
        let base = self.term(depth)?;
        match self.take(|c| c == '^') {
            Some(sign) => {
                Ok(Expression::Two(sign, Box::new(base), Box::new(self.signed(depth + 1)?)))
            }
            None => Ok(base),
        }
    }

    fn term(&mut self, depth: usize) -> Parsed {
        if self.next_is(|c| c.is_ascii_digit() || c == '.') {
            return self.number();
        }
        if self.next_is(char::is_alphabetic) {
            return self.name(depth);
        }
        if self.take(|c| c == '(').is_none() {
            return Err(self.expected("a number, a measure or '('"));
        }
        let inner = self.sum(depth + 1)?;
        match self.take(|c| c == ')') {
            Some(_) => Ok(inner),
            None => Err(self.expected("an operator or ')'")),
        }
    }

    fn number(&mut self) -> Parsed {
        let position = self.position();
        let mut digits = self.run(|c| c.is_ascii_digit() || c == '.');
        if let Some((_, e)) = self.rest.next_if(|(_, c)| matches!(c, 'e' | 'E')) {
            digits.push(e);
            digits.extend(self.rest.next_if(|(_, c)| matches!(c, '+' | '-')).map(|(_, c)| c));
            digits += &self.run(|c| c.is_ascii_digit());
        }
        match digits.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Expression::Number(number)),
            _ => Err(self.fail(position, format!("'{digits}' is no number"))),
        }
    }

    fn name(&mut self, depth: usize) -> Parsed {
        let position = self.position();
        let name = self.run(|c| c.is_alphanumeric() || c == '_');
        match name.as_str() {
            "accuracy" => Ok(Expression::Accuracy),
            "parameters" | "macs" => Ok(self.measure(name, 1e-6)),
            "min" => Ok(Expression::Least(self.arguments(depth)?)),
            "max" => Ok(Expression::Most(self.arguments(depth)?)),
            "latency" if self.rest.next_if(|(_, c)| *c == '=').is_some() => {
                let device = self.argument("latency= is followed by a device or a file")?;
                Ok(self.measure(format!("latency={device}"), 1.0))
            }
            "cmd" if self.rest.next_if(|(_, c)| *c == ':').is_some() => {
                let command = self.argument("cmd: is followed by a command in quotes")?;
                Ok(self.measure(format!("cmd:{command}"), 1.0))
            }
            _ => {
                Err(self.fail(position, format!("there is no measure '{name}'; there are {KNOWN}")))
            }
        }
    }

    /// The terms in brackets after the name of a function.
    fn arguments(&mut self, depth: usize) -> Result<Vec<Expression>, RewardError> {
        if self.take(|c| c == '(').is_none() {
            return Err(self.expected("'('"));
        }
        let mut list = vec![self.sum(depth + 1)?];
        while self.take(|c| c == ',').is_some() {
            list.push(self.sum(depth + 1)?);
        }
        match self.take(|c| c == ')') {
            Some(_) => Ok(list),
            None => Err(self.expected("an operator, ',' or ')'")),
        }
    }

    /// What a name goes on with, in quotes or up to where it must end.
    fn argument(&mut self, missing: &str) -> Result<String, RewardError> {
        let position = self.position();
        let quote = self.rest.next_if(|(_, c)| matches!(c, '\'' | '"')).map(|(_, c)| c);
        let ends =
            |c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | '*' | '/' | '+' | '^');
        let argument = match quote {
            Some(quote) => self.run(|c| c != quote),
            None => self.run(|c| !ends(c)),
        };
        if quote.is_some() && self.rest.next().is_none() {
            return Err(self.fail(position, "the quote does not end".into()));
        }
        match argument.is_empty() {
            true => Err(self.fail(position, missing.into())),
            false => Ok(argument),
        }
    }

    fn measure(&mut self, name: String, unit: f64) -> Expression {
        let known = self.measures.iter().position(|known| *known == name);
        let index = known.unwrap_or_else(|| {
            self.measures.push(name);
            self.measures.len() - 1
        });
        Expression::Measure(index, unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_worth_what_arithmetic_says() {
        for (text, expected) in [
            ("accuracy", 0.5),
            ("1 + 2*3 - 4/2", 5.0),
            ("-2^2 + 2^-1^2", -3.5),
            ("8 / 4 / 2", 1.0),
            ("2^3^2", 512.0),
            ("-(1 - 3) * --2", 4.0),
            ("1.5e1 + .5", 15.5),
            ("min(3, 1, 2) - max(accuracy)", 0.5),
            ("accuracy - 0.1*parameters", 0.3),
            ("accuracy-0.1*parameters", 0.3),
            ("parameters * macs + parameters", 8.0),
            ("latency=i7-12700h/2 - 1", 2.5),
            ("latency='a b*.csv'*2 + cmd:\"x 'y'\" + latency='a/b.csv'", 20.0),
        ] {
            let reward: Reward = text.parse().unwrap();
            let value = |name: &String| match name.as_str() {
                "parameters" => 2e6,
                "macs" => 3e6,
                "latency=i7-12700h" => 7.0,
                "latency=a b*.csv" => 4.0,
                "cmd:x 'y'" => 10.0,
                "latency=a/b.csv" => 2.0,
                other => panic!("{other}"),
            };
            let values: Vec<f64> = reward.measures().iter().map(value).collect();
            assert!((reward.value(0.5, &values) - expected).abs() < 1e-12, "{text}");
            assert_eq!(reward.to_string(), text);
        }
    }

    #[test]
    fn errors_say_what_is_wrong_and_where() {
        let deep = format!("{}1", "(".repeat(1000));
        for (text, error) in [
            ("", "character 1: expected a number, a measure or '(' instead of the end"),
            ("accuracy - * 2", "character 12: expected a number, a measure or '(' instead of '*'"),
            ("é", "character 1: there is no measure 'é'"),
            ("accuracy - é", "character 12: there is no measure 'é'; there are accuracy, param"),
            ("(accuracy", "character 10: expected an operator or ')' instead of the end"),
            ("accuracy)", "character 9: expected +, -, *, /, ^ or the end instead of ')'"),
            ("2 accuracy", "character 3: expected +, -, *, /, ^ or the end instead of 'a'"),
            ("1.2.3", "character 1: '1.2.3' is no number"),
            ("1e", "character 1: '1e' is no number"),
            ("1e999", "character 1: '1e999' is no number"),
            ("latency", "character 1: there is no measure 'latency'"),
            ("1 - latency= 3", "character 13: latency= is followed by a device"),
            ("cmd:'ls", "character 5: the quote does not end"),
            ("max 3", "character 5: expected '(' instead of '3'"),
            ("max(1 2)", "character 7: expected an operator, ',' or ')' instead of '2'"),
            (&deep, "more than 64 terms inside each other"),
            (&"-".repeat(1000), "more than 64 terms inside each other"),
        ] {
            let found = text.parse::<Reward>().unwrap_err().to_string();
            assert!(found.contains(error), "{text}: {found}");
        }
    }
}
