fn main() -> std::process::ExitCode {
    arkwright::cli::main()
}
