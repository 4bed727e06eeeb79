//! Measuring a network with a program of the user's.

use crate::onnx::{self, Weights};
use crate::search::{EvaluationError, Evaluator, Network};
use rayon::prelude::*;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What stands for the file in a command.
const FILE: &str = "{onnx}";

/// A shell command that is given a network as an ONNX file with random weights, and prints a
/// number. As many run at once as there are cores.
#[derive(Debug)]
pub struct Command {
    text: String,
    folder: PathBuf,
    files: AtomicUsize,
}

impl Command {
    /// The command `text`, in which `{onnx}` stands for the path of the file.
    ///
    /// # Errors
    /// When the folder for the files can't be made among the system's temporary files.
    pub fn new(text: &str) -> io::Result<Self> {
        static COMMANDS: AtomicUsize = AtomicUsize::new(0);
        let number = COMMANDS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("gennape-{}-{number}", process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self { text: text.into(), folder, files: AtomicUsize::new(0) })
    }

    fn measure(&self, network: &Network) -> Result<f64, EvaluationError> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{number}.onnx"));
        onnx::write(&network.model, File::create(&path)?, Weights::Random { seed: 0 })?;
        let answer = self.run(&path);
        fs::remove_file(&path)?;
        answer.map_err(|e| format!("'{}' on {}: {e}", self.text, network.architecture).into())
    }

    fn run(&self, path: &Path) -> Result<f64, EvaluationError> {
        let path = path.display().to_string();
        let text = self.text.replace(FILE, &format!("'{}'", path.replace('\'', r"'\''")));
        let output =
            process::Command::new("sh").arg("-c").arg(text).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            let told = told.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
            return Err(format!("{}: {told}", output.status).into());
        }
        let answer = String::from_utf8_lossy(&output.stdout);
        let number = answer.split_whitespace().last().unwrap_or_default().parse::<f64>();
        match number {
            Ok(number) if !number.is_nan() => Ok(number),
            _ => {
                Err(format!("printed '{}', which does not end with a number", answer.trim()).into())
            }
        }
    }
}

impl Evaluator for Command {
    fn evaluate(&self, networks: &[Network]) -> Result<Vec<f64>, EvaluationError> {
        networks.par_iter().map(|network| self.measure(network)).collect()
    }

    fn batch(&self) -> usize {
        rayon::current_num_threads()
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        // What is left among temporary files harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
