//! The `gennape` program; everything it does is in the library.

fn main() -> std::process::ExitCode {
    gennape::cli::main()
}
