//! Measured latencies of hand-designed networks: timm's tables of inference speed, of networks whose
//! ONNX files [`real`](super::real) reads.

use super::BenchmarkError;
use super::real::{IMAGENET, rows, wrong};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// A network's latency.
#[derive(Debug, Clone, PartialEq)]
pub struct Latency {
    /// The network's ONNX file.
    pub file: PathBuf,
    /// Networks of one family are variants of one design.
    pub family: String,
    /// Milliseconds for one image.
    pub milliseconds: f64,
}

/// Latencies on one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Latencies {
    /// The device.
    pub device: &'static str,
    /// Most images that it worked on at once.
    pub batch: u64,
    /// Networks measured with images of the size that their files take.
    pub networks: Vec<Latency>,
}

/// Devices that there are tables of: name, the device in full, the table.
pub const DEVICES: [(&str, &str, &str); 2] = [
    ("i7-12700h", "Intel Core i7-12700H", "timm_benchmark_infer_cpu_i7_12700h.csv"),
    ("rtx4090", "NVIDIA GeForce RTX 4090", "timm_benchmark_infer_rtx4090.csv"),
];

#[derive(Deserialize)]
struct SpeedRow {
    model: String,
    infer_img_size: u64,
    infer_samples_per_sec: f64,
    infer_batch_size: u64,
}

#[derive(Deserialize)]
struct NetworkRow {
    file: String,
    library: String,
    name: String,
    family: String,
    input: u64,
}

impl Latencies {
    /// Latencies on the device of this name, from the folder of labelled sets; none if there is no
    /// such device.
    ///
    /// # Errors
    /// When a table can't be read.
    pub fn read(data: &Path, device: &str) -> Result<Option<Self>, BenchmarkError> {
        let Some((_, device, table)) = DEVICES.iter().find(|(name, ..)| *name == device) else {
            return Ok(None);
        };
        let path = data.join(table);
        let mut speeds: HashMap<(String, u64), f64> = HashMap::new();
        let mut batch = 0;
        for (i, row) in rows::<SpeedRow>(&path)?.into_iter().enumerate() {
            let speed = row.infer_samples_per_sec;
            if !(speed > 0.0 && speed.is_finite()) {
                return Err(wrong(&path, i, format!("a speed of {speed} is not possible")));
            }
            batch = batch.max(row.infer_batch_size);
            speeds.insert((row.model, row.infer_img_size), speed);
        }
        // Once for every network, which has a label for each way it was trained.
        let networks: BTreeMap<String, NetworkRow> = rows::<NetworkRow>(&data.join(IMAGENET))?
            .into_iter()
            .filter(|row| row.library == "timm")
            .map(|row| (row.file.clone(), row))
            .collect();
        let latency = |row: NetworkRow| {
            let speed = speeds.get(&(row.name, row.input))?;
            let file = data.join("onnx_zoo").join(row.file);
            Some(Latency { file, family: row.family, milliseconds: 1000.0 / speed })
        };
        let networks = networks.into_values().filter_map(latency).collect();
        Ok(Some(Self { device, batch, networks }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(speeds: &str) -> Result<Option<Latencies>, String> {
        let folder = tempfile::tempdir().unwrap();
        let networks = "file,library,name,family,input\n\
                        timm/a.onnx,timm,a,f,224\ntimm/a.onnx,timm,a,f,224\n\
                        timm/b.onnx,timm,b,g,256\ntorchvision/a.onnx,torchvision,a,f,224\n";
        std::fs::create_dir_all(folder.path().join("onnx_zoo")).unwrap();
        std::fs::write(folder.path().join(IMAGENET), networks).unwrap();
        let header = "model,infer_img_size,infer_samples_per_sec,infer_batch_size\n";
        std::fs::write(folder.path().join(DEVICES[1].2), format!("{header}{speeds}")).unwrap();
        Latencies::read(folder.path(), "rtx4090").map_err(|e| e.to_string())
    }

    /// What was measured with larger images says nothing of a file for smaller ones.
    #[test]
    fn networks_are_matched_by_name_and_size() {
        let latencies = read("a,224,500,1024\na,288,250,512\nb,224,10,8\nc,224,1,1\n");
        let Latencies { batch, networks, .. } = latencies.unwrap().unwrap();
        let [Latency { file, family, milliseconds }] = networks.as_slice() else { panic!("one") };
        assert!(file.ends_with("onnx_zoo/timm/a.onnx"));
        assert_eq!((family.as_str(), *milliseconds, batch), ("f", 2.0, 1024));
    }

    #[test]
    fn impossible_speeds_are_told() {
        for speed in ["0", "-1", "NaN", "inf"] {
            let told = read(&format!("a,224,{speed},1\n")).unwrap_err();
            assert!(told.contains("line 2: a speed of"), "{told}");
        }
        assert!(read("a,224,fast,1\n").unwrap_err().contains("line 2: "));
    }
}
