# Every option of `services.hyper-sync`, and the setting of the program that it is; docs/options.md is generated from here.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.hyper-sync;
  time = types.strMatching "([01][0-9]|2[0-3]):[0-5][0-9]";
  # Absolute, in its one normal form, and without what systemd would split at or expand.
  absolutePath =
    types.addCheck (types.strMatching "(/[^/[:space:]:%\"'\\]+)+") (
      path: builtins.match ".*/\\.\\.?(/.*)?" path == null
    )
    // {
      description = "absolute path without spaces";
    };

  # The option's value is written into the configuration file under this name; `null` leaves the setting to the program.
  # What an option has as its own default is the program's default too: a test of the program compares them.
  settingOf = {
    allowReboot = "reboot.allow";
    branch = "ref";
    caFile = "ca_file";
    exclude = "exclude";
    failureGrace = "failure_grace";
    flake = "rebuild.flake";
    gate = "rebuild.gate";
    health.confirm = "health.confirm";
    health.remote = "health.remote";
    health.timeout = "health.timeout";
    health.units = "health.units";
    health.within = "health.within";
    host = "rebuild.host";
    knownHostsFile = "known_hosts_file";
    metricsFile = "metrics_file";
    protect = "protect";
    rebuildAction = "rebuild.action";
    rebootWhenIdle = "reboot.when_idle";
    repo = "repo";
    signers = "trust.signers";
    # For a person's `sudo hyper-sync`; the unit is given the same files as credentials.
    sshKeyFile = "ssh_key_file";
    target = "target";
    tokenFile = "token_file";
  };
in
{
  # What is written into `settings` itself wins.
  config.services.hyper-sync.settings = lib.mkIf cfg.enable (
    lib.mkMerge (
      lib.collect (entry: entry ? _type) (
        lib.mapAttrsRecursive (
          option: setting:
          let
            value = lib.getAttrFromPath option cfg;
          in
          lib.mkIf (value != null) (lib.setAttrByPath (lib.splitString "." setting) (lib.mkDefault value))
        ) settingOf
      )
      ++ lib.singleton (
        lib.mkIf (cfg.rebootWindow != null) {
          reboot.window = lib.mkDefault "${cfg.rebootWindow.lower}-${cfg.rebootWindow.upper}";
        }
      )
      ++ lib.singleton (
        lib.mkIf (cfg.health.checks != { }) {
          health.checks = lib.mapAttrs (
            _: check: lib.mapAttrs (_: lib.mkDefault) (lib.filterAttrs (_: value: value != null) check)
          ) cfg.health.checks;
        }
      )
    )
  );

  options.services.hyper-sync = {
    enable = lib.mkEnableOption "hyper-sync, which keeps a NixOS configuration directory equal to a branch and rebuilds this machine from it";

    package = lib.mkPackageOption pkgs "hyper-sync" { } // {
      defaultText = lib.literalMD "the flake's own build";
    };

    repo = mkOption {
      type = types.nullOr (
        types.addCheck types.singleLineStr (value: value != "" && !lib.hasPrefix "-" value)
      );
      default = if cfg.target == "/etc/hypervisor/src" then "MasterofNull/Hyper-NixOS" else null;
      defaultText = lib.literalMD "`\"MasterofNull/Hyper-NixOS\"` for Hyper-NixOS's target; else it has to be set";
      example = "https://git.example.org/infra/machines.git";
      description = ''
        The repository: `owner/name` on GitHub, or an address of any git host (`https://`, `ssh://`, `user@host:path`,
        `file://`, an absolute path). A target that has followed another one is not synced before
        {command}`hyper-sync sync --allow-other-repo` was run once.
      '';
    };

    branch = mkOption {
      type = types.addCheck types.singleLineStr (value: value != "" && !lib.hasPrefix "-" value);
      default = "main";
      example = "develop";
      description = "The branch to follow; a tag or a commit pins the machine.";
    };

    target = mkOption {
      type = absolutePath;
      default = "/etc/hypervisor/src";
      example = "/etc/nixos";
      description = ''
        The directory that is kept equal to the commit. It must belong to root; files in it that the repository does not
        have are left alone.

        Enable this service in a file outside the directory, or in the repository itself: a line added by hand to a file
        that the sync replaces is gone after the first run, and the service with it.
      '';
    };

    flake = mkOption {
      type = absolutePath;
      default = if cfg.target == "/etc/hypervisor/src" then "/etc/hypervisor" else cfg.target;
      defaultText = lib.literalMD "`/etc/hypervisor` for Hyper-NixOS's target, else `target`";
      example = "/etc/nixos";
      description = "The directory of the flake that is built.";
    };

    host = mkOption {
      type = types.nullOr types.singleLineStr;
      default = null;
      example = "web1";
      description = ''
        The attribute of `nixosConfigurations` to build. With `null` it is the only one there is, else the one with this
        machine's host name.
      '';
    };

    rebuildAction = mkOption {
      type = types.nullOr (
        types.enum [
          "build"
          "test"
          "switch"
          "boot"
          "dry-activate"
          "none"
        ]
      );
      default = "switch";
      description = ''
        What is done with the new system, as for {command}`nixos-rebuild`. `null`: the unit only syncs, and a person rebuilds.
        `"none"`: the target is not a configuration of this machine, and nothing is ever rebuilt.
      '';
    };

    gate = mkOption {
      type = types.enum [
        "off"
        "build"
      ];
      default = "off";
      description = ''
        What is required of a commit before it is brought into the target. `build`: its system builds. Then the sync runs
        without its sandbox, because it runs Nix.
      '';
    };

    flags = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [
        "--max-jobs"
        "2"
      ];
      description = "Further arguments of the build, after `--impure` for Hyper-NixOS's target.";
    };

    protect = mkOption {
      type = types.nullOr (types.listOf types.str);
      default = null;
      example = [ "hardware-configuration.nix" ];
      description = ''
        Globs of files in which a local edit always wins. `null` is the program's own list
        (`modules/*-local.nix`, `hardware-configuration.nix`, `scripts/hardware_detect.sh` for Hyper-NixOS,
        `hardware-configuration.nix` elsewhere); a list of your own replaces it.
      '';
    };

    exclude = mkOption {
      type = types.nullOr (types.listOf types.str);
      default = null;
      example = [
        "/.git/"
        "/secrets/"
      ];
      description = ''
        Globs of paths that are not managed at all. `null` is the program's own list (`hyper-sync config show` prints
        it); a list of your own replaces it.
      '';
    };

    tokenFile = mkOption {
      type = types.nullOr absolutePath;
      default = null;
      example = "/run/secrets/hyper-sync-token";
      description = ''
        A file with the token for a private repository, outside the Nix store (a string, not a Nix path). It is handed
        to the service as a systemd credential and read anew at every run, so that a rotated token needs no restart.
        The file should belong to root with mode 0400.
      '';
    };

    sshKeyFile = mkOption {
      type = types.nullOr absolutePath;
      default = null;
      example = "/etc/ssh/ssh_host_ed25519_key";
      description = "The private key for a repository that is reached through ssh, outside the Nix store.";
    };

    knownHostsFile = mkOption {
      type = types.nullOr absolutePath;
      default = null;
      example = lib.literalExpression ''
        "''${pkgs.writeText "known-hosts" "git.example.org ssh-ed25519 AAAA…"}"
      '';
      description = "Host keys for ssh, in the format of {manpage}`sshd(8)`. `null`: the system's own known hosts.";
    };

    caFile = mkOption {
      type = types.nullOr absolutePath;
      default = null;
      example = "/etc/ssl/certs/company-ca.pem";
      description = "Certificate authorities (PEM) that are trusted in place of the system's.";
    };

    signers = mkOption {
      type = types.nullOr absolutePath;
      default = null;
      example = lib.literalExpression ''
        "''${pkgs.writeText "signers" "ops@example.org ssh-ed25519 AAAA…"}"
      '';
      description = ''
        Who may sign: a file of allowed signers as for {manpage}`ssh-keygen(1)`, or an OpenPGP keyring. With it, a commit
        without a good signature of one of these keys is refused, and nothing of it is written. `null`: no signature is
        asked for. Keep the file outside of `target`: a commit must not choose who may sign the next one.
      '';
    };

    metricsFile = mkOption {
      type = types.nullOr (types.addCheck absolutePath (lib.hasSuffix ".prom")) // {
        description = "null or absolute path without spaces that ends in `.prom`";
      };
      default = null;
      example = "/var/lib/node-exporter-textfiles/hyper-sync.prom";
      description = ''
        A file of metrics for the textfile collector of Prometheus's node exporter, written by both units at the end of
        every run. Its directory is made if it is missing, and belongs to the collector: the sandboxed service may write
        all of it. What the file contains: [metrics](module.md#metrics).
      '';
    };

    dates = mkOption {
      type = types.nullOr (types.either types.singleLineStr (types.listOf types.singleLineStr));
      default = "hourly";
      example = "*:0/15";
      description = ''
        When the machine checks for a new commit, in the format of {manpage}`systemd.time(7)`. A check without news is one
        request. `null`: no timer; `systemctl start hyper-sync` updates and waits for the result.
      '';
    };

    randomizedDelaySec = mkOption {
      type = types.singleLineStr;
      default = "10min";
      example = "45min";
      description = "Upper limit of a random delay before each run, so that many machines do not ask at once.";
    };

    fixedRandomDelay = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether the random delay of a machine is the same at every run.";
    };

    persistent = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "Whether a run that was missed while the machine was off is made up for after boot.";
    };

    allowReboot = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether to reboot when the new system has another kernel, other kernel modules or another initial ram disk than
        the booted one, or cannot be switched to without a reboot. Such a system is made the boot default and runs after
        the reboot; any other one is switched to at once: [reboots](safe-updates.md#reboots).
      '';
    };

    rebootWindow = mkOption {
      type = types.nullOr (
        types.submodule {
          options = {
            lower = mkOption {
              type = time;
              example = "01:00";
              description = "Begin of the window.";
            };
            upper = mkOption {
              type = time;
              example = "05:00";
              description = "End of the window; earlier than `lower` if it crosses midnight.";
            };
          };
        }
      );
      default = null;
      example = {
        lower = "01:00";
        upper = "05:00";
      };
      description = "The time of day, in local time, in which `allowReboot` may reboot; `null`: any time.";
    };

    rebootWhenIdle = mkOption {
      type = types.bool;
      default = false;
      description = "Whether `allowReboot` waits until no user is logged in.";
    };

    onFailure = mkOption {
      type = types.listOf types.singleLineStr;
      default = [ ];
      example = [ "notify-admin@%n.service" ];
      description = ''
        Units that are started when an update fails, at whatever stage. A repository that is not reached is a failure
        after `failureGrace` only.
      '';
    };

    failureGrace = mkOption {
      type = types.singleLineStr;
      default = "24h";
      example = "30min";
      description = ''
        How long the repository may be out of reach, or refuse for a rate limit, before that is a failure: counted from
        the first sync that failed so since the last that ended well. Until then the update ends well, metrics and
        {command}`hyper-sync status` show how often it was tried, and, with a timer, the next try comes after a few
        minutes. Everything else is a failure at once.
      '';
    };

    health.units = mkOption {
      type = types.bool;
      default = true;
      description = ''
        Whether {command}`hyper-sync health` fails when a unit has failed that had not failed before the running system
        was activated, or fails again and again.
      '';
    };

    health.remote = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether {command}`hyper-sync health` fails when the repository cannot be reached: such a machine gets no update
        any more.
      '';
    };

    health.confirm = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether a new system stays the boot default only if it passes the health checks: before it becomes that, or, for
        a system that needs a reboot, after the reboot. If it does not, or if the run that checks it dies, the former system is activated again and the target goes back to its commit.
      '';
    };

    health.within = mkOption {
      type = types.singleLineStr;
      default = "2min";
      example = "10min";
      description = "How long all checks together may be tried again.";
    };

    health.timeout = mkOption {
      type = types.singleLineStr;
      default = "10s";
      description = "How long one try may take, for checks that have no `timeout` of their own.";
    };

    health.checks = mkOption {
      type = types.attrsOf (
        types.submodule {
          options = {
            command = mkOption {
              type = types.nullOr (types.listOf types.str);
              default = null;
              example = [
                "pg_isready"
                "--quiet"
              ];
              description = "A program and its arguments, without a shell; it passes with exit code 0.";
            };
            url = mkOption {
              type = types.nullOr types.singleLineStr;
              default = null;
              example = "http://localhost:8080/health";
              description = "An address that answers a `GET` with 2xx or 3xx; no redirect is followed.";
            };
            status = mkOption {
              type = types.nullOr (types.ints.between 100 599);
              default = null;
              example = 401;
              description = "The one status that `url` is to answer with.";
            };
            tcp = mkOption {
              type = types.nullOr types.singleLineStr;
              default = null;
              example = "localhost:5432";
              description = "A host and a port that accepts a connection.";
            };
            unit = mkOption {
              type = types.nullOr types.singleLineStr;
              default = null;
              example = "nginx.service";
              description = "A systemd unit that is active.";
            };
            timeout = mkOption {
              type = types.nullOr types.singleLineStr;
              default = null;
              example = "30s";
              description = "How long one try may take; `null`: `health.timeout`.";
            };
          };
        }
      );
      default = { };
      example = {
        web.url = "http://localhost:8080/health";
        database.tcp = "localhost:5432";
      };
      description = ''
        The checks of {command}`hyper-sync health` by their names. Each has one of `command`, `url`, `tcp` and `unit`. Any
        module of the configuration may add one: [health checks](safe-updates.md#health-checks).
      '';
    };

    settings = mkOption {
      type = types.submodule {
        freeformType = (pkgs.formats.toml { }).type;
      };
      default = { };
      example = {
        local_edits = "refuse";
        limits.time = "10min";
      };
      description = ''
        The configuration file, {file}`/etc/hyper-sync/config.toml`. The options above write into it with lower
        priority, so that a value set here wins. It is checked by `hyper-sync config check` when the system is built:
        an unknown key or a wrong value fails the build, not the next update.
      '';
    };
  };
}
