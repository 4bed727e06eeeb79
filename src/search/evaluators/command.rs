//! Measuring a network with a program of the user's.

use crate::files::{Output, Scratch};
use crate::onnx::{self, Weights};
use crate::search::{CandidateNetwork, EvaluationError, Evaluator, Interrupted};
use rayon::prelude::*;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{self, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// What stands for the file in a command.
const FILE: &str = "{onnx}";

/// Most bytes that a command may print.
const MAX_BYTES: u64 = 64 << 20;

/// How many of the last bytes that it printed are looked at.
const TAIL: usize = 1 << 12;

/// Most characters of its text that are told in an error.
const TOLD: usize = 300;

/// Whether all commands are to be stopped.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// How many commands run.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Stops all commands of this process, whose evaluations then end with [`Interrupted`]; whether
/// there are any.
#[cfg(feature = "cli")]
pub(crate) fn interrupt_commands() -> bool {
    INTERRUPTED.store(true, Ordering::Relaxed);
    RUNNING.load(Ordering::Relaxed) > 0
}

/// A shell command that is given a network as an ONNX file with random weights, and prints a
/// number. As many run at once as there are cores, each in a group of processes of its own, so
/// that Ctrl-C at the terminal does not reach it.
///
/// The command has ended when the shell has; what it leaves running is not waited for. If it
/// takes longer than it may, or prints more than 64 MiB, its whole group is killed.
#[derive(Debug)]
pub struct Command {
    text: String,
    limit: Duration,
    folder: Scratch,
    files: AtomicUsize,
}

impl Command {
    /// The command `text`, in which `{onnx}` stands for the path of the file, and which may take
    /// as long as `limit`.
    ///
    /// # Errors
    /// When the folder for the files can't be made among the system's temporary files.
    pub fn new(text: &str, limit: Duration) -> io::Result<Self> {
        let (text, folder) = (text.into(), Scratch::new()?);
        Ok(Self { text, limit, folder, files: AtomicUsize::new(0) })
    }

    fn measure(&self, network: &CandidateNetwork) -> Result<f64, EvaluationError> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.path().join(format!("{number}.onnx"));
        let mut file = Output::create(&path)?;
        onnx::write(&network.model, &mut file, Weights::Random { seed: 0 })?;
        file.finish()?;
        let answer = self.run(&path);
        // The command may have done so.
        let _ = fs::remove_file(&path);
        answer.map_err(|e| match e.is::<Interrupted>() {
            true => e,
            false => format!("'{}' on {}: {e}", start(&self.text), network.architecture).into(),
        })
    }

    fn run(&self, path: &Path) -> Result<f64, EvaluationError> {
        let path = path.display().to_string();
        let text = self.text.replace(FILE, &format!("'{}'", path.replace('\'', r"'\''")));
        let mut command = process::Command::new("sh");
        command.arg("-c").arg(text).stdin(Stdio::null());
        RUNNING.fetch_add(1, Ordering::Relaxed);
        let ended = listen::run(command, self.limit);
        RUNNING.fetch_sub(1, Ordering::Relaxed);
        let listen::Ended { status, out, err } = ended?;
        if !status.success() {
            if was_interrupted(status) {
                return Err(Interrupted.into());
            }
            let told = String::from_utf8_lossy(&err);
            let told = told.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
            return Err(format!("{status}: {}", start(told)).into());
        }
        let answer = String::from_utf8_lossy(&out);
        let number = answer.split_whitespace().last().unwrap_or_default().parse::<f64>();
        match number {
            Ok(number) if !number.is_nan() => Ok(number),
            _ => {
                let line = answer.trim().lines().last().unwrap_or_default();
                Err(format!("printed '{}', which does not end with a number", start(line)).into())
            }
        }
    }
}

/// As much of a text as is told.
fn start(text: &str) -> String {
    match text.char_indices().nth(TOLD) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// Whether the user has stopped the command, by whatever way Ctrl-C reached it.
fn was_interrupted(status: process::ExitStatus) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        status.signal() == Some(rustix::process::Signal::INT.as_raw())
    }
    #[cfg(not(unix))]
    {
        let _ = status;
        false
    }
}

impl Evaluator for Command {
    fn evaluate(&self, networks: &[CandidateNetwork]) -> Result<Vec<f64>, EvaluationError> {
        networks.par_iter().map(|network| self.measure(network)).collect()
    }

    fn batch(&self) -> usize {
        rayon::current_num_threads()
    }
}

/// Running a command and taking in what it prints.
#[cfg(unix)]
mod listen {
    use super::{INTERRUPTED, Interrupted, MAX_BYTES, TAIL};
    use crate::search::EvaluationError;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::ioctl_fionbio;
    use rustix::process::{Pid, Signal, kill_process_group};
    use std::io::{self, ErrorKind, Read};
    use std::os::fd::AsFd;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, ExitStatus, Stdio};
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    /// Between two looks at whether the shell has ended or something else has to be done.
    const TICK: Duration = Duration::from_millis(10);

    /// What is left of a command: its last words.
    pub struct Ended {
        pub status: ExitStatus,
        pub out: Vec<u8>,
        pub err: Vec<u8>,
    }

    /// Runs a command for at most `limit`.
    pub fn run(mut command: Command, limit: Duration) -> Result<Ended, EvaluationError> {
        let began = Instant::now();
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut group = Group(command.spawn()?);
        let mut out = Stream::new(group.0.stdout.take())?;
        let mut err = Stream::new(group.0.stderr.take())?;
        loop {
            // Before reading, so that everything that the shell has printed is taken in.
            let ended = group.0.try_wait()?;
            out.read()?;
            err.read()?;
            if let Some(status) = ended {
                return Ok(Ended { status, out: out.tail, err: err.tail });
            }
            if INTERRUPTED.load(Ordering::Relaxed) {
                return Err(Interrupted.into());
            }
            if began.elapsed() > limit {
                let limit = limit.as_secs();
                return Err(
                    format!("it takes longer than the {limit} s of --command-timeout").into()
                );
            }
            wait(&[&out, &err])?;
        }
    }

    /// The group of processes of a command, which is killed if it is dropped while the shell runs.
    struct Group(Child);

    impl Drop for Group {
        fn drop(&mut self) {
            if let Ok(None) = self.0.try_wait() {
                // The shell is still there, so the group is no other's.
                if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
                    let _ = kill_process_group(group, Signal::KILL);
                }
                let _ = self.0.wait();
            }
        }
    }

    /// What a command prints.
    struct Stream<R> {
        /// None when it is closed.
        pipe: Option<R>,
        tail: Vec<u8>,
        bytes: u64,
    }

    impl<R: Read + AsFd> Stream<R> {
        fn new(pipe: Option<R>) -> io::Result<Self> {
            if let Some(pipe) = &pipe {
                ioctl_fionbio(pipe, true)?;
            }
            Ok(Self { pipe, tail: Vec::new(), bytes: 0 })
        }

        /// Takes in what is there now.
        fn read(&mut self) -> Result<(), EvaluationError> {
            let mut buffer = [0; 1 << 14];
            while let Some(pipe) = &mut self.pipe {
                match pipe.read(&mut buffer) {
                    Ok(0) => self.pipe = None,
                    Ok(read) => {
                        self.bytes += read as u64;
                        self.tail.extend_from_slice(&buffer[..read]);
                        let superfluous = self.tail.len().saturating_sub(TAIL);
                        self.tail.drain(..superfluous);
                        if self.bytes > MAX_BYTES {
                            return Err(format!("it prints more than {MAX_BYTES} bytes").into());
                        }
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(e) => return Err(e.into()),
                }
            }
            Ok(())
        }
    }

    /// Waits until one of the pipes has something or is closed, at most for a [`TICK`].
    fn wait(streams: &[&dyn Open; 2]) -> io::Result<()> {
        let mut fds: Vec<PollFd> = streams
            .iter()
            .filter_map(|stream| Some(PollFd::from_borrowed_fd(stream.fd()?, PollFlags::IN)))
            .collect();
        if fds.is_empty() {
            // The shell has closed them and is about to end, most likely.
            std::thread::sleep(TICK / 10);
            return Ok(());
        }
        let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
        match poll(&mut fds, Some(&tick)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// A stream of any kind.
    trait Open {
        fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>>;
    }

    impl<R: AsFd> Open for Stream<R> {
        fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
            self.pipe.as_ref().map(AsFd::as_fd)
        }
    }
}

/// Groups of processes are a thing of Unix.
#[cfg(not(unix))]
mod listen {
    use crate::search::EvaluationError;
    use std::process::{Command, ExitStatus};
    use std::time::Duration;

    pub struct Ended {
        pub status: ExitStatus,
        pub out: Vec<u8>,
        pub err: Vec<u8>,
    }

    pub fn run(_: Command, _: Duration) -> Result<Ended, EvaluationError> {
        Err("commands can be run on Unix alone".into())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::time::Instant;

    fn answer(text: &str, limit: u64) -> (Result<f64, String>, Duration) {
        let began = Instant::now();
        let command = Command::new(text, Duration::from_secs(limit)).unwrap();
        let answer = command.run(Path::new("/dev/null")).map_err(|e| e.to_string());
        (answer, began.elapsed())
    }

    #[test]
    fn the_last_word_counts_and_failures_tell_theirs() {
        assert_eq!(answer("echo much; echo '  accuracy 7.5'", 60).0, Ok(7.5));
        assert_eq!(answer("cat {onnx}; seq 100000; echo 3", 60).0, Ok(3.0));
        for (text, expected) in [
            ("echo lost >&2; exit 7", "exit status: 7: lost"),
            ("exit 3", "exit status: 3: no message"),
            ("echo nan", "printed 'nan', which does not end with a number"),
            ("kill -TERM $$", "signal: 15"),
            ("printf '%01000d' 0 >&2; false", "000…"),
        ] {
            let told = answer(text, 60).0.unwrap_err();
            assert!(told.contains(expected) && told.len() < 400, "{told}");
        }
    }

    #[test]
    fn what_never_ends_is_ended() {
        for (text, expected) in [
            ("yes", "it prints more than"),
            ("cat /dev/zero >&2", "it prints more than"),
            ("sleep 1000", "takes longer than the 1 s"),
            ("sleep 1000 | sleep 1000", "takes longer than the 1 s"),
            ("exec >&- 2>&-; sleep 1000", "takes longer than the 1 s"),
        ] {
            let (told, took) = answer(text, 1);
            assert!(told.unwrap_err().contains(expected), "{text}");
            assert!(took < Duration::from_secs(30), "{text}: {took:?}");
        }
    }

    #[test]
    fn what_a_command_leaves_behind_is_not_waited_for() {
        let (number, took) = answer("sleep 1000 & echo $! 5", 900);
        assert_eq!(number, Ok(5.0));
        assert!(took < Duration::from_secs(60), "{took:?}");
        // It goes when it writes to nobody.
        assert_eq!(
            answer("(while :; do echo 1 >&2 && sleep 0.01 || exit; done) & echo 6", 900).0,
            Ok(6.0)
        );
    }

    #[test]
    fn the_whole_group_of_a_command_goes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("alive");
        let text = format!("(sleep 3; touch '{}') & sleep 1000", file.display());
        assert!(answer(&text, 1).0.is_err());
        std::thread::sleep(Duration::from_secs(3));
        assert!(!file.exists());
    }
}
