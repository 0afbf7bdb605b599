# What `nix fmt` would change.
{
  lib,
  pkgs,
  self,
  ...
}:
let
  source = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.fileFilter (
      file: file.hasExt "nix" || file.hasExt "rs" || file.name == "rustfmt.toml"
    ) ../.;
  };
in
pkgs.runCommand "formatting"
  {
    nativeBuildInputs = [
      pkgs.gitMinimal
      self.formatter.${pkgs.stdenv.hostPlatform.system}
    ];
  }
  ''
    cp --recursive --no-preserve=mode ${source} source
    cd source
    export HOME=$TMPDIR
    git init --quiet
    git add .
    treefmt --ci
    touch $out
  ''
