{
  lib,
  stdenv,
  buildPackages,
  rustPlatform,
  installShellFiles,
  jq,
  makeBinaryWrapper,
  versionCheckHook,
  gitMinimal,
  gnupg,
  openssh,
  strace,
  util-linux,
  tests ? { },
}:
let
  manifest = lib.importTOML ../Cargo.toml;
  canRun = stdenv.hostPlatform.emulatorAvailable buildPackages;
  run = "${stdenv.hostPlatform.emulator buildPackages} $out/bin/hyper-sync";
in
rustPlatform.buildRustPackage {
  pname = manifest.package.name;
  inherit (manifest.package) version;

  # An allow-list, so that an edit of a NixOS test does not rebuild the crate.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.toml
      ../Cargo.lock
      ../clippy.toml
      ../rustfmt.toml
      # Tests hold them against the program.
      ../CHANGELOG.md
      ../CONTRIBUTING.md
      ../README.md
      ../SECURITY.md
      ../docs
      ../modules/hyper-sync.nix
      ../modules/options.nix
      ../src
      ../tests
      # A target of the manifest, which the lints compile.
      ../benches
    ];
  };
  cargoLock.lockFile = ../Cargo.lock;

  strictDeps = true;
  nativeBuildInputs = [
    installShellFiles
    makeBinaryWrapper
  ];

  # The tests compare with real git, ssh-keygen and gpgv, query JSON with jq, trace system calls with strace, and draw on a
  # terminal of script's (util-linux); everything they start stays on loopback. tests/nix needs root and a Nix of its own: the
  # VM tests show the same on a whole system.
  nativeCheckInputs = [
    gitMinimal
    gnupg
    jq
    openssh
    strace
    util-linux
  ];
  doInstallCheck = canRun;
  nativeInstallCheckInputs = [ versionCheckHook ];

  postInstall = lib.optionalString canRun ''
    mkdir man
    ${run} man --all man
    installManPage man/*.1
    installShellCompletion --cmd hyper-sync \
      --bash <(${run} completions bash) \
      --fish <(${run} completions fish) \
      --zsh <(${run} completions zsh)
  '';

  # Local repositories are read through git, `ssh://` through ssh; signatures are checked by ssh-keygen and gpgv. As a
  # suffix: the caller's own come first, with their configuration. Nix and systemd are never pinned here: they must be
  # the ones of the machine that is rebuilt.
  postFixup = ''
    wrapProgram $out/bin/hyper-sync --suffix PATH : ${
      lib.makeBinPath [
        gitMinimal
        gnupg
        openssh
      ]
    }
  '';

  passthru = { inherit tests; };

  meta = {
    inherit (manifest.package) description;
    homepage = manifest.package.repository;
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "hyper-sync";
    platforms = lib.platforms.linux;
  };
}
