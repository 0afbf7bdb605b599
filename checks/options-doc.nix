# docs/options.md matches the descriptions of the module's options.
#
# It is rendered by Nix itself, so that the comparison needs no build. To write it anew:
#   nix eval --raw .#checks.x86_64-linux.options-doc.text >docs/options.md
{
  evaluated,
  lib,
  nixos,
  ...
}:
let
  inherit ((nixos { }).options.services) hyper-sync;

  # The manual's roles, such as {command}`git`, mean nothing outside of it.
  plain =
    text:
    let
      roles = map (role: "{${role}}`") [
        "command"
        "env"
        "file"
        "manpage"
        "option"
      ];
    in
    lib.removeSuffix "\n" (lib.replaceStrings roles (map (_: "`") roles) text);

  value =
    label: given:
    if given._type or null == "literalMD" then
      "- ${label}: ${given.text}"
    else if lib.hasInfix "\n" given.text then
      "- ${label}:\n\n  ```nix\n${
        lib.concatMapStringsSep "\n" (line: "  ${line}") (
          lib.splitString "\n" (lib.removeSuffix "\n" given.text)
        )
      }\n  ```"
    else
      "- ${label}: `${given.text}`";

  section =
    option:
    lib.concatStringsSep "\n" (
      [
        "## `${option.name}`"
        ""
        (plain option.description)
        ""
        "- type: ${option.type}"
      ]
      ++ lib.optional (option ? default) (value "default" option.default)
      ++ lib.optional (option ? example) (value "example" option.example)
    );

  options = lib.filter (option: option.visible && !option.internal) (
    lib.optionAttrSetToDocList hyper-sync
  );

  text = ''
    <!-- Generated from modules/options.nix, see checks/options-doc.nix. -->

    # Options of `services.hyper-sync`

    ${lib.concatMapStringsSep "\n\n" section options}
  '';
in
evaluated "options-doc"
  (lib.optional (text != builtins.readFile ../docs/options.md)
    "docs/options.md differs from modules/options.nix; regenerate it as described in checks/options-doc.nix"
  )
  {
    inherit text;
  }
