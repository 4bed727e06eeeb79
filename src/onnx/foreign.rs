//! Files that people pass by mistake.

use crate::text::clipped;

/// Bytes of a file's beginning that tell what it is.
pub(super) const HEAD: usize = 4096;

/// What a file is, and what to do about it.
type Found = (String, Option<&'static str>);

const EXPORT: &str = "export the network with torch.onnx.export first";
const CONVERT: &str = "convert it with tf2onnx first";
const DOWNLOAD: &str = "download the file itself; a server may have sent this in its place";
const UNPACK: &str = "unpack it first";

/// Recognises what surely is no ONNX file.
pub(super) fn recognise(head: &[u8]) -> Option<Found> {
    let starts = |magic: &[u8]| head.starts_with(magic);
    let at = |place: usize, magic: &[u8]| head.get(place..).is_some_and(|b| b.starts_with(magic));
    let holds = |part: &[u8]| head.windows(part.len()).any(|window| window == part);
    let (found, hint) = match () {
        () if head.is_empty() => ("the file is empty", Some("download or export it again")),
        () if starts(b"PK\x03\x04") && holds(b".npy") => {
            ("this is a NumPy archive of arrays", None)
        }
        () if starts(b"PK\x03\x04") && holds(b"data.pkl") => {
            ("this is a PyTorch checkpoint (a ZIP archive)", Some(EXPORT))
        }
        () if starts(b"PK\x03\x04") && holds(b"metadata.json") => {
            ("this is a Keras model (a ZIP archive)", Some(CONVERT))
        }
        () if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") => {
            ("this is a ZIP archive, perhaps a PyTorch checkpoint", Some(EXPORT))
        }
        () if starts(b"\x80") && matches!(head.get(1), Some(2..=5)) => {
            ("this is a Python pickle, perhaps a PyTorch checkpoint", Some(EXPORT))
        }
        () if starts(b"\x89HDF") => ("this is an HDF5 file, perhaps a Keras model", Some(CONVERT)),
        () if at(4, b"TFL3") => ("this is a TensorFlow Lite model", Some(CONVERT)),
        () if at(4, b"ORTM") => {
            ("this is ONNX Runtime's own format", Some("use the .onnx file it was made from"))
        }
        () if at(8, b"{\"") && head.get(5..8) == Some(&[0; 3]) => {
            ("this is a safetensors file, which holds weights without a network", Some(EXPORT))
        }
        () if starts(b"GGUF") => ("this is a GGUF file, which holds no graph", Some(EXPORT)),
        () if starts(b"\x93NUMPY") => ("this is a NumPy array", None),
        () if starts(b"\x1f\x8b") => ("this is a gzip archive", Some(UNPACK)),
        () if starts(b"BZh") => ("this is a bzip2 archive", Some(UNPACK)),
        () if starts(b"\xfd7zXZ") => ("this is an xz archive", Some(UNPACK)),
        () if starts(b"\x28\xb5\x2f\xfd") => ("this is a Zstandard archive", Some(UNPACK)),
        () if starts(b"7z\xbc\xaf") => ("this is a 7z archive", Some(UNPACK)),
        () if starts(b"Rar!") => ("this is a RAR archive", Some(UNPACK)),
        () if at(257, b"ustar") => ("this is a tar archive", Some(UNPACK)),
        () if starts(b"\x89PNG")
            || starts(b"\xff\xd8\xff")
            || starts(b"GIF8")
            || (starts(b"RIFF") && at(8, b"WEBP"))
            || (starts(b"BM") && head.get(6..10) == Some(&[0; 4])) =>
        {
            ("this is an image", None)
        }
        () if starts(b"%PDF") => ("this is a PDF document", None),
        () if starts(b"\x7fELF") || starts(b"MZ\x90") => ("this is a program", None),
        () if starts(&[0, 5, 0x16, 7]) => {
            ("this is what macOS keeps beside a file (AppleDouble)", Some("use the file itself"))
        }
        () if starts(b"\xff\xfe") || starts(b"\xfe\xff") => {
            ("this is text in UTF-16", Some(DOWNLOAD))
        }
        () if head.len() > 16 && head.iter().all(|&b| b == 0) => {
            ("the file is filled with zeros", Some("download or export it again"))
        }
        () => return text(head),
    };
    Some((found.into(), hint))
}

/// Recognises text.
fn text(head: &[u8]) -> Option<Found> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // Cut in the middle of a character.
        Err(e) if head.len() > HEAD - 8 && e.valid_up_to() + 4 > head.len() => {
            std::str::from_utf8(head.get(..e.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    // The fields of a message have control characters between them.
    if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return None;
    }
    let text = text.trim_start();
    let (found, hint) = match () {
        () if text.is_empty() => ("the file holds blanks only", Some("download it again")),
        () if text.starts_with("version https://git-lfs") => {
            ("this is a Git LFS pointer", Some("fetch the file itself with git lfs pull"))
        }
        () if text.starts_with("<ir_version") || text.starts_with("ir_version:") => (
            "this is ONNX in its textual form",
            Some("read it in Python and write it with onnx.save first"),
        ),
        () if text.starts_with('<') => {
            ("this is an HTML or XML page", Some("download the file itself, not the page about it"))
        }
        () => {
            let kind = if is_json(text) { "JSON text" } else { "text" };
            let line = clipped(text.lines().next().unwrap_or_default(), 80);
            return Some((format!("this is {kind}: {line}"), Some(DOWNLOAD)));
        }
    };
    Some((found.into(), hint))
}

/// Whether `text`, which may be cut off, begins with an object or a list of JSON; in JSON Lines others
/// follow.
fn is_json(text: &str) -> bool {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    let first = values.next().is_some_and(|value| value.map_or_else(|e| e.is_eof(), |_| true));
    text.starts_with(['{', '[']) && first
}

/// What a file may be that turned out to hold no model.
pub(super) fn guess(head: &[u8]) -> Found {
    let holds = |part: &[u8]| head.windows(part.len()).any(|window| window == part);
    match () {
        () if holds(b"Placeholder") || holds(b"tensorflow") => {
            ("it holds no model of ONNX's, but perhaps one of TensorFlow's".into(), Some(CONVERT))
        }
        () => ("it holds no model".into(), Some("export the network as ONNX first")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_models_are_told_apart() {
        let padded = |bytes: &[u8], length: usize| {
            let mut bytes = bytes.to_vec();
            bytes.resize(length, 0);
            bytes
        };
        let weights = [&59u64.to_le_bytes()[..], b"{\"w\":{\"dtype\":\"F32\"}}"].concat();
        let mut tar = padded(b"m.onnx", 512);
        tar.splice(257..262, *b"ustar");
        for (bytes, part) in [
            (b"".to_vec(), "empty"),
            (weights, "safetensors"),
            (b"{\"error\":\"not found\"}".to_vec(), "this is JSON text: {\"error\""),
            (b"[1, 2]".to_vec(), "JSON"),
            (b"{\"layers\": [{\"na".to_vec(), "JSON"),
            (b"{\"step\": 1}\n{\"step\": 2}\n".to_vec(), "JSON"),
            (b"[package]".to_vec(), "this is text: [package]"),
            (b"{{ template }}".to_vec(), "this is text: {{"),
            (b"Entry not found".to_vec(), "text: Entry not found"),
            (b"\r\n\t <!DOCTYPE html>".to_vec(), "HTML"),
            (b"\xef\xbb\xbf<html>".to_vec(), "HTML"),
            (b"version https://git-lfs.github.com/spec/v1".to_vec(), "Git LFS"),
            (b"<ir_version: 8>".to_vec(), "textual"),
            (b"PK\x03\x04____archive/data.pkl".to_vec(), "PyTorch"),
            (b"\x80\x04\x95".to_vec(), "pickle"),
            (b"\x89HDF\r\n".to_vec(), "HDF5"),
            (b"\x1c\0\0\0TFL3".to_vec(), "TensorFlow Lite"),
            (b"\x93NUMPY\x01".to_vec(), "NumPy"),
            (b"\x1f\x8b\x08".to_vec(), "gzip"),
            (tar, "tar"),
            (b"\xff\xfeE\0r\0".to_vec(), "UTF-16"),
            (b"GIF89a".to_vec(), "image"),
            (vec![0; 100], "zeros"),
            (b" \n\n".to_vec(), "blanks"),
            ("é".repeat(HEAD).into_bytes()[..HEAD - 1].to_vec(), "text"),
        ] {
            let found = recognise(&bytes).map(|(found, _)| found).unwrap_or_default();
            assert!(found.contains(part), "{found}: {part}");
        }
        // A model, a graph first, and one without anything but a name.
        for model in [&b"\x08\x08\x12\x07pytorch"[..], b"\x3a\x05\x12\x03net", b"\x0a\x01\x80"] {
            assert_eq!(recognise(model), None);
        }
    }
}
