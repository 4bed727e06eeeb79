//! The extension module, which is `src/python` of the library.

use gennape as _;
