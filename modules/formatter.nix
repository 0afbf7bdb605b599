# `nix fmt`: Nix and Rust with one command; checks/formatting.nix runs the same programs.
{ nixfmt-tree, rustfmt }:
nixfmt-tree.override {
  settings.formatter.rustfmt = {
    command = "rustfmt";
    options = [
      "--edition"
      "2024"
    ];
    includes = [ "*.rs" ];
  };
  runtimeInputs = [ rustfmt ];
}
