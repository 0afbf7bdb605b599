//! The defaults in the NixOS module, held against those of the program.
//!
//! The files are read, not evaluated by Nix: of the language, [`value`] knows what a default is written with.

use std::path::Path;

use hyper_sync::settings::{ConfigFile, Env, HYPER_NIXOS_TARGET, Overrides, Settings};
use rnix::ast::{self, Expr};
use serde_json::{Value, json};

/// The values of the attributes of a set or of a `let`, by their names in full.
fn attributes(of: &impl ast::HasEntry) -> Vec<(String, Expr)> {
    let entries = of.attrpath_values();
    entries
        .map(|entry| {
            let name = entry.attrpath().unwrap().to_string();
            (name, entry.value().unwrap())
        })
        .collect()
}

/// The attribute of that name.
fn attribute(of: &impl ast::HasEntry, name: &str) -> Expr {
    let mut all = attributes(of).into_iter();
    let found = all.find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("there is no `{name}`")).1
}

/// A file of the module: `{ … }: let … in { … }`.
fn read(name: &str) -> ast::LetIn {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let source = std::fs::read_to_string(&path).unwrap();
    let root = rnix::Root::parse(&source).ok().unwrap().expr().unwrap();
    let Expr::Lambda(module) = root else {
        panic!("{name} is not a function");
    };
    let Some(Expr::LetIn(body)) = module.body() else {
        panic!("{name} does not begin with `let`");
    };
    body
}

fn set(expr: Expr) -> ast::AttrSet {
    let Expr::AttrSet(set) = expr else {
        panic!("`{expr}` is not a set");
    };
    set
}

/// What an expression is where the target is `target` and no other option is set.
fn value(expr: &Expr, file: &ast::LetIn, target: &str) -> Value {
    let of = |expr: Option<Expr>| value(&expr.unwrap(), file, target);
    match expr {
        Expr::Str(text) => match text.normalized_parts().as_slice() {
            [ast::InterpolPart::Literal(text)] => json!(text),
            _ => panic!("`{expr}` is not plain text"),
        },
        Expr::List(list) => list.items().map(|item| of(Some(item))).collect(),
        Expr::Paren(inner) => of(inner.expr()),
        Expr::IfElse(choice) => {
            if of(choice.condition()) == json!(true) {
                of(choice.body())
            } else {
                of(choice.else_body())
            }
        }
        Expr::BinOp(op) if op.operator() == Some(ast::BinOpKind::Equal) => {
            json!(of(op.lhs()) == of(op.rhs()))
        }
        Expr::Select(select) if select.default_expr().is_some() => of(select.default_expr()),
        Expr::Select(_) if expr.to_string() == "cfg.target" => json!(target),
        Expr::Ident(name) => match name.to_string().as_str() {
            "null" => Value::Null,
            "true" => json!(true),
            "false" => json!(false),
            // From the file's settings, where it is written with the option of the same name.
            "target" => json!(target),
            name => of(Some(attribute(file, name))),
        },
        _ => panic!("`{expr}` is written in a way that this test cannot read"),
    }
}

/// What the module takes each setting to be where nobody sets it; null: not set.
fn defaults(target: &str) -> Vec<(String, Value)> {
    let options = read("modules/options.nix");
    let declared = set(attribute(
        &set(options.body().unwrap()),
        "options.services.hyper-sync",
    ));
    let mut found = Vec::new();
    for (option, setting) in attributes(&set(attribute(&options, "settingOf"))) {
        let Expr::Apply(call) = attribute(&declared, &option) else {
            panic!("`{option}` is not made by a call");
        };
        let default = attribute(&set(call.argument().unwrap()), "default");
        found.push((
            value(&setting, &options, target),
            value(&default, &options, target),
        ));
    }
    // Such an option leaves it to the program.
    found.retain(|(_, default)| !default.is_null());
    let own = read("modules/hyper-sync.nix");
    for (setting, name) in [
        ("state_dir", "stateDir"),
        ("state_file", "stateFile"),
        ("rebuild.extra_args", "impure"),
    ] {
        found.push((json!(setting), value(&attribute(&own, name), &own, target)));
    }
    let known = found.into_iter();
    known
        .map(|(setting, default)| (setting.as_str().unwrap().to_owned(), default))
        .collect()
}

/// Every setting by its name, from a configuration file of these lines.
fn program(settings: &[(String, Value)]) -> Vec<(String, Option<toml::Value>)> {
    let line = |(setting, value): &(String, Value)| match value {
        // Takes a default away.
        Value::Null => format!("{setting} = ''\n"),
        value => format!("{setting} = {value}\n"),
    };
    let text: String = settings.iter().map(line).collect();
    let file = ConfigFile::new("/etc/hyper-sync/config.toml", &text);
    let root = Env::empty().as_root(true).with("HOME", "/root");
    let resolved = Settings::resolve(&Overrides::none(), &root, Some(&file)).unwrap();
    let entries = resolved.entries.into_iter();
    entries
        .map(|entry| (entry.name.into_owned(), entry.value))
        .collect()
}

#[test]
fn the_module_has_the_defaults_of_the_program() {
    let of_module = defaults(HYPER_NIXOS_TARGET);
    assert_eq!(program(&of_module), program(&[]));

    let other = ("target".to_owned(), json!("/etc/nixos"));
    let mut of_module = defaults("/etc/nixos");
    // The module names the directory that holds the state of all targets.
    of_module.retain(|(setting, _)| setting != "target" && setting != "state_dir");
    of_module.push(other.clone());
    assert_eq!(program(&of_module), program(&[other]));
}
