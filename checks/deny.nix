# Licences, sources and doubled dependencies. Advisories need a database from the network: the workflow checks those.
{ package, pkgs, ... }:
package.overrideAttrs (old: {
  pname = "${old.pname}-deny";
  nativeBuildInputs = old.nativeBuildInputs ++ [ pkgs.cargo-deny ];
  buildPhase = ''
    runHook preBuild
    cargo deny --offline --locked check --config ${../deny.toml} bans licenses sources
    runHook postBuild
  '';
  doCheck = false;
  doInstallCheck = false;
  installPhase = "touch $out";
  postInstall = "";
  postFixup = "";
})
