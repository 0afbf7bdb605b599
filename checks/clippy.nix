# The lints of Cargo.toml, with nothing let through; the package's own derivation with another build step.
{ package, pkgs, ... }:
package.overrideAttrs (old: {
  pname = "${old.pname}-clippy";
  nativeBuildInputs = old.nativeBuildInputs ++ [ pkgs.clippy ];
  buildPhase = ''
    runHook preBuild
    cargo clippy --offline --locked --all-targets -- --deny warnings
    runHook postBuild
  '';
  doCheck = false;
  doInstallCheck = false;
  installPhase = "touch $out";
  postInstall = "";
  postFixup = "";
})
