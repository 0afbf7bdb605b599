//! Flakes as hosts have them.

use super::*;

const TARGET: &str = "/etc/hypervisor/src";
const DIRECTORY: &str = "/etc/hypervisor";

fn flake(source: &str) -> Flake {
    Flake::parse(source).expect(source)
}

fn hosts(outputs: &str) -> Option<Vec<String>> {
    flake(&format!("{{ outputs = {{ self, nixpkgs }}: {outputs}; }}")).hosts
}

fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// How the flake reaches the target: the names of inputs, and whether it names a path in it.
fn reaches(source: &str) -> (Vec<String>, bool) {
    let flake = flake(source);
    let (directory, target) = (Path::new(DIRECTORY), Path::new(TARGET));
    let inputs = flake.inputs_at(directory, target);
    (
        inputs.map(|input| input.name.clone()).collect(),
        flake.names_path_in(directory, target),
    )
}

#[test]
fn an_older_installation_has_the_target_as_an_input() {
    let source = r#"{
          description = "host";
          inputs = {
            nixpkgs.url = "github:NixOS/nixpkgs/nixos-24.05";
            hypervisor.url = "path:/etc/hypervisor/src"; # no second download
          };
          outputs = { self, nixpkgs, hypervisor }:
            let system = "x86_64-linux"; in {
              nixosConfigurations.box = nixpkgs.lib.nixosSystem {
                inherit system;
                modules = [ /etc/nixos/hardware-configuration.nix (hypervisor + "/profiles/configuration-minimal.nix") ];
              };
            };
        }"#;
    let flake = flake(source);
    assert_eq!(
        flake.inputs,
        [
            Input {
                name: "nixpkgs".to_owned(),
                url: Some("github:NixOS/nixpkgs/nixos-24.05".to_owned()),
            },
            Input {
                name: "hypervisor".to_owned(),
                url: Some("path:/etc/hypervisor/src".to_owned()),
            },
        ]
    );
    assert_eq!(flake.hosts.unwrap(), named(&["box"]));
    assert_eq!(
        flake.paths,
        [PathBuf::from("/etc/nixos/hardware-configuration.nix")]
    );
    assert_eq!(reaches(source), (vec!["hypervisor".to_owned()], false));
}

#[test]
fn a_newer_installation_names_files_of_the_target() {
    let source = r#"{
          inputs = { nixpkgs.url = "github:NixOS/nixpkgs/nixos-24.05"; };
          outputs = { self, nixpkgs }: {
            nixosConfigurations.box = nixpkgs.lib.nixosSystem {
              modules = [ /etc/nixos/hardware-configuration.nix /etc/hypervisor/src/profiles/configuration-minimal.nix ];
            };
          };
        }"#;
    assert_eq!(flake(source).hosts.unwrap(), named(&["box"]));
    assert_eq!(reaches(source), (vec![], true));
}

#[test]
fn paths_are_seen_however_they_are_written() {
    for path in [
        "/etc/hypervisor/src",
        "/etc/hypervisor/src/${name}.nix",
        "./src/configuration.nix",
        "../hypervisor/src/x.nix",
        "\"/etc/hypervisor/src/x.nix\"",
        "(\"/etc/hypervisor/src\" + \"/x.nix\")",
    ] {
        let source = format!("{{ outputs = _: {{ x = [ {path} ]; }}; }}");
        assert_eq!(reaches(&source), (vec![], true), "{path}");
    }
    for path in [
        "/etc/hypervisor/src-old/x.nix",
        "./srcs",
        "/etc/hypervisor/src/../other",
        "(self + \"/etc/hypervisor/src\")",
        "<nixpkgs/etc/hypervisor/src>",
    ] {
        let source = format!("{{ outputs = _: {{ x = [ {path} ]; }}; }}");
        assert_eq!(reaches(&source), (vec![], false), "{path}");
    }
}

#[test]
fn inputs_are_seen_however_they_are_written() {
    for input in [
        "inputs.x.url = \"path:/etc/hypervisor/src\";",
        "inputs.x = { url = \"path:/etc/hypervisor/src\"; flake = false; };",
        "inputs = { x.url = \"path:///etc/hypervisor/src\"; x.inputs.nixpkgs.follows = \"nixpkgs\"; };",
        "inputs.x.url = \"/etc/hypervisor/src/\";",
        "inputs.x.url = \"./src\";",
        "inputs.x.url = ./src;",
        "inputs.x.url = \"path:./src?narHash=sha256-x\";",
        "inputs.x.url = \"path:/etc/hypervisor/%73rc\";",
        "inputs.x.url = \"git+file:///etc/hypervisor/src?ref=main\";",
        "inputs.x = { type = \"path\"; path = \"/etc/hypervisor/src\"; };",
        "inputs.x = { type = \"git\"; url = \"file:///etc/hypervisor/src\"; };",
    ] {
        let (inputs, _) = reaches(&format!("{{ {input} outputs = _: {{ }}; }}"));
        assert_eq!(inputs, ["x"], "{input}");
    }
    for input in [
        "",
        "inputs.x.follows = \"y\";",
        "inputs.x.url = \"github:o/hypervisor\";",
        "inputs.x.url = \"src\";",
        "inputs.x.url = \"path:/etc/hypervisor/src2\";",
        "inputs.x.url = \"https://example.org/etc/hypervisor/src\";",
    ] {
        let (inputs, _) = reaches(&format!("{{ {input} outputs = _: {{ }}; }}"));
        assert!(inputs.is_empty(), "{input}");
    }
}

#[test]
fn hosts_are_listed_where_they_are_written_out() {
    for (outputs, expected) in [
        (
            "{ nixosConfigurations = { a = 1; \"b.c\" = 2; }; }",
            &["a", "b.c"][..],
        ),
        (
            "{ nixosConfigurations.b = 1; nixosConfigurations.a = 1; }",
            &["b", "a"],
        ),
        (
            "let host = \"a\"; in { nixosConfigurations.${host} = 1; }",
            &["a"],
        ),
        (
            "let nixosConfigurations = x // { a = 1; }; x = { b = 1; }; in { inherit nixosConfigurations; }",
            &["b", "a"],
        ),
        (
            "eachSystem (s: { }) // { nixosConfigurations.a = 1; }",
            &["a"],
        ),
        (
            "({ nixosConfigurations.a = 1; } // { packages = 1; })",
            &["a"],
        ),
        (
            "with x; assert true; rec { nixosConfigurations = ({ a = 1; }); }",
            &["a"],
        ),
        ("{ packages = 1; }", &[]),
        ("{ nixosConfigurations = { }; }", &[]),
    ] {
        assert_eq!(hosts(outputs), Some(named(expected)), "{outputs}");
    }
    assert_eq!(flake("{ }").hosts.unwrap(), named(&[]));
    assert!(!flake("{ }").outputs);
}

#[test]
fn hosts_that_are_computed_are_not_guessed() {
    for outputs in [
        "{ nixosConfigurations = lib.genAttrs [ \"a\" ] f; }",
        "{ nixosConfigurations.${self.name} = 1; }",
        "{ inherit (x) nixosConfigurations; }",
        "{ inherit nixosConfigurations; }",
        "flake-parts.lib.mkFlake { } { }",
        "{ nixosConfigurations.a = 1; } // x",
        "{ ${x} = 1; }",
        "let a = b; b = a; in a",
    ] {
        assert_eq!(hosts(outputs), None, "{outputs}");
    }
    assert_eq!(flake("{ outputs = import ./outputs.nix; }").hosts, None);
}

#[test]
fn a_fault_has_its_place() {
    let error = Flake::parse("{ outputs = { self }: { a = 1 }; }").unwrap_err();
    assert_eq!(error.to_string(), "1:31: unexpected `}`, expected `;`");
    assert_eq!(error.span, 30..31);
}

fn layout(source: &str, directory: &str) -> Option<Layout> {
    let flake = Flake::parse(source).unwrap();
    Layout::of(&flake, Path::new(directory), Path::new(TARGET))
}

#[test]
fn an_older_install_has_the_target_as_an_input_of_any_name() {
    let source = r#"{ inputs.hv.url = "path:/etc/hypervisor/src";
        outputs = { self, hv }: { nixosConfigurations.vm = import (hv + "/profiles/minimal.nix"); }; }"#;
    let names = vec!["hv".to_owned()];
    assert_eq!(
        layout(source, "/etc/hypervisor"),
        Some(Layout::Input { names })
    );
}

#[test]
fn an_install_since_october_2025_names_absolute_paths() {
    let source = r"{ inputs.nixpkgs.url = github:NixOS/nixpkgs/nixos-24.05;
        outputs = { self, nixpkgs }: { nixosConfigurations.vm = nixpkgs.lib.nixosSystem {
          modules = [ /etc/nixos/hardware-configuration.nix /etc/hypervisor/src/profiles/minimal.nix ]; }; }; }";
    assert_eq!(layout(source, "/etc/hypervisor"), Some(Layout::Literal));
}

#[test]
fn a_target_that_holds_the_flake_is_its_own() {
    let source = "{ outputs = { self }: { }; }";
    assert_eq!(layout(source, TARGET), Some(Layout::Own));
    assert_eq!(
        layout(source, "/etc/hypervisor/src/hosts/a"),
        Some(Layout::Own)
    );
}

#[test]
fn a_flake_that_goes_elsewhere_has_no_layout() {
    let source = r#"{ inputs.hv.url = "path:/etc/hypervisor/src2"; outputs = { self, hv }: { x = /etc/hypervisor/srcs/a.nix; }; }"#;
    assert_eq!(layout(source, "/etc/hypervisor"), None);
}
