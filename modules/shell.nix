# The programs that the checks run, beside the toolchain that builds the package.
{
  mkShell,
  rustPlatform,
  cargo-deny,
  cargo-insta,
  clippy,
  formatter,
  hyper-sync,
  rust-analyzer,
  rustfmt,
}:
mkShell {
  inputsFrom = [ hyper-sync ];
  packages = [
    cargo-deny
    cargo-insta
    clippy
    formatter
    rust-analyzer
    rustfmt
  ];
  env.RUST_SRC_PATH = rustPlatform.rustLibSrc;
}
