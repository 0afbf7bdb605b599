# What the module makes of a configuration, case by case; every assertion has a case in which it fires.
{
  evaluated,
  lib,
  package,
  pkgs,
  ...
}:
let
  nixos = import ./host.nix { inherit lib package pkgs; };
  file = toString ../modules/hyper-sync.nix;

  # The module's own assertions, in their order; the messages of all of NixOS would be much work and may throw.
  assertions =
    system:
    lib.concatMap (definition: definition.value) (
      lib.filter (definition: definition.file == file) system.options.assertions.definitionsWithLocations
    );
  fired = system: lib.filter (assertion: !assertion.assertion) (assertions system);

  enabled =
    settings:
    nixos {
      services.hyper-sync = {
        enable = true;
      }
      // settings;
    };

  # name = what is configured, and the words by which the refusal is known.
  refused = {
    "token in the store" = {
      system = enabled { tokenFile = "${builtins.storeDir}/00000000000000000000000000000000-token"; };
      says = "is in the Nix store";
    };
    "token in the store by settings" = {
      system = enabled {
        settings.token_file = "${builtins.storeDir}/00000000000000000000000000000000-token";
      };
      says = "is in the Nix store";
    };
    "ssh key in the store" = {
      system = enabled { sshKeyFile = "${builtins.storeDir}/00000000000000000000000000000000-key"; };
      says = "is in the Nix store";
    };
    "no repository" = {
      system = enabled { target = "/etc/nixos"; };
      says = "`services.hyper-sync.repo` is not set";
    };
    "no repository for a target of the settings" = {
      system = enabled { settings.target = "/etc/nixos"; };
      says = "`services.hyper-sync.repo` is not set";
    };
    "password in the address" = {
      system = enabled { repo = "https://bot:secret@git.example.org/machines.git"; };
      says = "has a password in it";
    };
    "all of /etc" = {
      system = enabled {
        repo = "you/config";
        target = "/etc";
      };
      says = "is /etc, which is not a directory that can be kept equal";
    };
    "inside the store" = {
      system = enabled {
        repo = "you/config";
        target = "/nix/var/config";
      };
      says = "is /nix/var/config, which is not";
    };
    "inside its own state" = {
      system = enabled {
        repo = "you/config";
        target = "/var/lib/hyper-sync/tree";
      };
      says = "not inside `/nix` or /var/lib/hyper-sync";
    };
    "metrics among everybody's files" = {
      system = enabled { metricsFile = "/var/lib/hyper-sync.prom"; };
      says = "write its metrics or its state file into a directory such as `/var/lib`";
    };
    "no Nix" = {
      system = nixos {
        services.hyper-sync.enable = true;
        nix.enable = false;
      };
      says = "`nix.enable` is false";
    };
    "no switch-to-configuration" = {
      system = nixos {
        services.hyper-sync.enable = true;
        system.switch.enable = false;
      };
      says = "`system.switch.enable` is false";
    };
    "with autoUpgrade" = {
      system = nixos {
        services.hyper-sync.enable = true;
        system.autoUpgrade.enable = true;
      };
      says = "`system.autoUpgrade` both rebuild";
    };
    "with comin" = {
      system = nixos {
        options.services.comin.enable = lib.mkEnableOption "comin";
        config.services = {
          hyper-sync.enable = true;
          comin.enable = true;
        };
      };
      says = "`services.comin` both deploy";
    };
    "with self-deploy" = {
      system = nixos {
        options.services.self-deploy.enable = lib.mkEnableOption "self-deploy";
        config.services = {
          hyper-sync.enable = true;
          self-deploy.enable = true;
        };
      };
      says = "`services.self-deploy` both rebuild";
    };
    "reboot into nothing" = {
      system = enabled {
        allowReboot = true;
        rebuildAction = "test";
      };
      says = "does not make it the\nboot default";
    };
    "empty reboot window" = {
      system = enabled {
        allowReboot = true;
        rebootWindow = {
          lower = "03:00";
          upper = "03:00";
        };
      };
      says = "begins and ends at the same minute";
    };
  };

  # What the type system refuses, by the option that is wrong.
  illTyped = {
    target = [
      "etc/nixos"
      "/etc/nixos/"
      "/etc//nixos"
      "/etc/../root"
      "/etc/my config"
      "/"
    ];
    tokenFile = [
      ./module.nix
      "token"
    ];
    repo = [
      ""
      "--upload-pack=x"
    ];
    metricsFile = [
      "/var/lib/node-exporter-textfiles/hyper-sync.txt"
      "hyper-sync.prom"
    ];
    gate = [
      "test"
      true
    ];
    rebuildAction = [ "reboot" ];
    rebootWindow = [
      {
        lower = "25:00";
        upper = "3:00";
      }
    ];
  };

  plain = (enabled { }).config;
  service = plain.systemd.services.hyper-sync;
  fetch = plain.systemd.services.hyper-sync-fetch;

  secrets =
    (enabled {
      repo = "you/config";
      target = "/etc/nixos";
      flake = "/etc/nixos";
      tokenFile = "/run/secrets/token";
      sshKeyFile = "/root/.ssh/id_ed25519";
      knownHostsFile = "/root/.ssh/known_hosts";
      flags = [ "--show-trace" ];
      protect = [ "local.nix" ];
    }).config;
  secretsFetch = secrets.systemd.services.hyper-sync-fetch;

  # name = expected value, then the value.
  holds = {
    "a default configuration is accepted" = [
      [ ]
      (map (assertion: assertion.message) (fired (enabled { })))
    ];
    "a default configuration gives no warning of ours" = [
      [ ]
      (lib.filter (lib.hasInfix "hyper-sync") plain.warnings)
    ];
    "disabled means nothing" = [
      [
        false
        false
      ]
      (
        let
          inherit ((nixos { }).config) environment systemd;
        in
        [
          (systemd.services ? hyper-sync)
          (environment.etc ? "hyper-sync/config.toml")
        ]
      )
    ];
    "the written settings are the options" = [
      {
        repo = "MasterofNull/Hyper-NixOS";
        ref = "main";
        target = "/etc/hypervisor/src";
        failure_grace = "24h";
        health = {
          confirm = false;
          remote = false;
          timeout = "10s";
          units = true;
          within = "2min";
        };
        rebuild = {
          action = "switch";
          flake = "/etc/hypervisor";
          gate = "off";
        };
        reboot = {
          allow = false;
          when_idle = false;
        };
      }
      plain.services.hyper-sync.settings
    ];
    "options reach the file" = [
      {
        repo = "you/config";
        ref = "main";
        target = "/etc/nixos";
        failure_grace = "24h";
        health = {
          confirm = false;
          remote = false;
          timeout = "10s";
          units = true;
          within = "2min";
        };
        protect = [ "local.nix" ];
        token_file = "/run/secrets/token";
        ssh_key_file = "/root/.ssh/id_ed25519";
        known_hosts_file = "/root/.ssh/known_hosts";
        rebuild = {
          action = "switch";
          flake = "/etc/nixos";
          gate = "off";
          extra_args = [ "--show-trace" ];
        };
        reboot = {
          allow = false;
          when_idle = false;
        };
      }
      secrets.services.hyper-sync.settings
    ];
    "the flake is the target, but for Hyper-NixOS" = [
      "/etc/nixos"
      (enabled { target = "/etc/nixos"; }).config.services.hyper-sync.settings.rebuild.flake
    ];
    "flags do not take away what Hyper-NixOS needs" = [
      [
        "--impure"
        "--show-trace"
      ]
      (enabled { flags = [ "--show-trace" ]; }).config.services.hyper-sync.settings.rebuild.extra_args
    ];
    "settings win over options" = [
      "develop"
      (enabled { settings.ref = "develop"; }).config.services.hyper-sync.settings.ref
    ];
    "settings decide what the sandbox opens" = [
      [ "-/srv/config" ]
      (enabled { settings.target = "/srv/config"; })
      .config.systemd.services.hyper-sync-fetch.serviceConfig.ReadWritePaths
    ];
    "the sandbox opens only the target and the published state" = [
      [
        "-/etc/hypervisor/src"
        "-/var/lib/hypervisor/cache"
      ]
      fetch.serviceConfig.ReadWritePaths
    ];
    "the sandbox opens the folder of the metrics" = [
      {
        file = "/var/lib/textfiles/hyper-sync.prom";
        opened = [
          "-/etc/hypervisor/src"
          "-/var/lib/hypervisor/cache"
          "-/var/lib/textfiles"
        ];
        made = true;
      }
      (
        let
          inherit ((enabled { metricsFile = "/var/lib/textfiles/hyper-sync.prom"; }).config)
            services
            systemd
            ;
        in
        {
          file = services.hyper-sync.settings.metrics_file;
          opened = systemd.services.hyper-sync-fetch.serviceConfig.ReadWritePaths;
          made = lib.hasInfix ''"/var/lib/textfiles"'' systemd.services.hyper-sync-fetch.serviceConfig.ExecStartPre;
        }
      )
    ];
    "state and metrics may share a folder" = [
      [
        "-/srv/config"
        "-/var/lib/textfiles"
      ]
      (enabled {
        target = "/srv/config";
        metricsFile = "/var/lib/textfiles/hyper-sync.prom";
        settings.state_file = "/var/lib/textfiles/hyper-sync.json";
      }).config.systemd.services.hyper-sync-fetch.serviceConfig.ReadWritePaths
    ];
    "signers reach the file, and gpgv the unit" = [
      [
        "/etc/hyper-sync/signers"
        true
        false
        "read-only"
      ]
      (
        let
          signed = file: (enabled { signers = file; }).config;
          hasGnupg = unit: lib.elem pkgs.gnupg unit.path;
          system = signed "/etc/hyper-sync/signers";
          inherit (signed "/root/signers") systemd;
        in
        [
          system.services.hyper-sync.settings.trust.signers
          (hasGnupg system.systemd.services.hyper-sync-fetch)
          (hasGnupg fetch)
          systemd.services.hyper-sync-fetch.serviceConfig.ProtectHome
        ]
      )
    ];
    "the sandbox never opens /etc" = [
      [ "-/etc/nixos" ]
      secretsFetch.serviceConfig.ReadWritePaths
    ];
    "secrets come as credentials" = [
      {
        load = [
          "known_hosts:/root/.ssh/known_hosts"
          "ssh_key:/root/.ssh/id_ed25519"
          "token:/run/secrets/token"
        ];
        token = "%d/token";
        key = "%d/ssh_key";
        hosts = "%d/known_hosts";
      }
      {
        load = lib.sort (a: b: a < b) secretsFetch.serviceConfig.LoadCredential;
        token = secretsFetch.environment.HYPER_SYNC_TOKEN_FILE;
        key = secretsFetch.environment.HYPER_SYNC_SSH_KEY_FILE;
        hosts = secretsFetch.environment.HYPER_SYNC_KNOWN_HOSTS_FILE;
      }
    ];
    "the rebuild sees no secret" = [
      false
      (lib.any (lib.hasPrefix "HYPER_SYNC_") (
        lib.attrNames secrets.systemd.services.hyper-sync.environment
      ))
    ];
    "homes are hidden" = [
      true
      fetch.serviceConfig.ProtectHome
    ];
    "a repository in a home can be read" = [
      "read-only"
      (enabled { repo = "file:///home/alice/config"; })
      .config.systemd.services.hyper-sync-fetch.serviceConfig.ProtectHome
    ];
    "both units survive the switch they start" = [
      (lib.replicate 2 {
        restart = false;
        stop = false;
        removal = false;
      })
      (map
        (unit: {
          restart = unit.restartIfChanged;
          stop = unit.stopIfChanged;
          removal = unit.unitConfig.X-StopOnRemoval;
        })
        [
          service
          fetch
        ]
      )
    ];
    "the rebuild waits for the fetch and needs it" = [
      {
        requires = [ "hyper-sync-fetch.service" ];
        after = [ "hyper-sync-fetch.service" ];
      }
      { inherit (service) requires after; }
    ];
    "no dates, no timers" = [
      {
        timers = { };
        retries = false;
      }
      (
        let
          inherit ((enabled { dates = null; }).config) systemd;
        in
        {
          inherit (systemd) timers;
          retries = systemd.services.hyper-sync.serviceConfig ? ExecStopPost;
        }
      )
    ];
    "several dates" = [
      [
        "06:00"
        "18:00"
      ]
      (enabled {
        dates = [
          "06:00"
          "18:00"
        ];
      }).config.systemd.timers.hyper-sync.timerConfig.OnCalendar
    ];
    "without a rebuild action nothing is built" = [
      [
        ''"${lib.getExe package}" "status"''
        ''"${lib.getExe package}" "overdue"''
      ]
      (enabled { rebuildAction = null; }).config.systemd.services.hyper-sync.serviceConfig.ExecStart
    ];
    "a target without rebuilds is never rebuilt by hand either" = [
      {
        action = "none";
        start = [
          ''"${lib.getExe package}" "status"''
          ''"${lib.getExe package}" "overdue"''
        ];
      }
      (
        let
          inherit ((enabled { rebuildAction = "none"; })) config;
        in
        {
          inherit (config.services.hyper-sync.settings.rebuild) action;
          start = config.systemd.services.hyper-sync.serviceConfig.ExecStart;
        }
      )
    ];
    "checks of any module reach the file, without what is not set" = [
      {
        database.tcp = "localhost:5432";
        web = {
          url = "http://localhost/health";
          status = 401;
        };
      }
      (
        let
          inherit
            ((nixos {
              imports = [ { services.hyper-sync.health.checks.database.tcp = "localhost:5432"; } ];
              services.hyper-sync = {
                enable = true;
                health.checks.web.url = "http://localhost/health";
                settings.health.checks.web.status = 401;
              };
            }).config
            )
            services
            ;
        in
        services.hyper-sync.settings.health.checks
      )
    ];
    "a sync that builds has what Nix needs, and no sandbox" = [
      {
        gate = "build";
        home = "/root";
        isSandboxed = false;
        limit = "infinity";
      }
      (
        let
          inherit ((enabled { gate = "build"; }).config) services systemd;
          unit = systemd.services.hyper-sync-fetch;
        in
        {
          inherit (services.hyper-sync.settings.rebuild) gate;
          home = unit.environment.HOME;
          isSandboxed = unit.serviceConfig ? ProtectSystem || unit.serviceConfig ? MemoryMax;
          limit = unit.serviceConfig.TimeoutStartSec;
        }
      )
    ];
    "the grace reaches the file" = [
      "7d"
      (enabled { failureGrace = "7d"; }).config.services.hyper-sync.settings.failure_grace
    ];
    "a reboot is decided after the rebuild, and by a timer of its own while it waits" = [
      {
        reboot = {
          allow = true;
          when_idle = true;
          window = "01:30-05:00";
        };
        commands = [
          ''"${lib.getExe package}" "rebuild" "--if-pending"''
          ''"${lib.getExe package}" "reboot"''
          ''"${lib.getExe package}" "overdue"''
        ];
        own = ''"${lib.getExe package}" "reboot"'';
        startedBy = [ ];
      }
      (
        let
          inherit
            ((enabled {
              allowReboot = true;
              rebootWhenIdle = true;
              rebootWindow = {
                lower = "01:30";
                upper = "05:00";
              };
            }).config
            )
            services
            systemd
            ;
        in
        {
          inherit (services.hyper-sync.settings) reboot;
          commands = systemd.services.hyper-sync.serviceConfig.ExecStart;
          own = systemd.services.hyper-sync-reboot.serviceConfig.ExecStart;
          startedBy = systemd.timers.hyper-sync-reboot.wantedBy or [ ];
        }
      )
    ];
    "without permission there is nothing that reboots" = [
      false
      (plain.systemd.services ? hyper-sync-reboot || plain.systemd.timers ? hyper-sync-reboot)
    ];
    "with confirm, a boot is judged before anything else is done" = [
      {
        after = [
          "hyper-sync-fetch.service"
          "hyper-sync-confirm.service"
        ];
        once = true;
        blesses = true;
      }
      (
        let
          inherit ((enabled { health.confirm = true; }).config.systemd) services;
          unit = services.hyper-sync-confirm;
        in
        {
          inherit (services.hyper-sync) after;
          once = unit.serviceConfig.RemainAfterExit;
          blesses = lib.elem "boot-complete.target" unit.requiredBy && lib.elem "boot-complete.target" unit.before;
        }
      )
    ];
    "without confirm, no boot is judged" = [
      false
      (plain.systemd.services ? hyper-sync-confirm)
    ];
    "a failure is passed on" = [
      [ "notify@%n.service" ]
      (enabled { onFailure = [ "notify@%n.service" ]; }).config.systemd.services.hyper-sync.onFailure
    ];
    "the file is checked where it can be" = [
      true
      (lib.hasInfix "config check" plain.environment.etc."hyper-sync/config.toml".source.buildCommand)
    ];
    "a container is warned" = [
      true
      (lib.any (lib.hasInfix "in a container")
        (nixos {
          services.hyper-sync.enable = true;
          boot.isContainer = true;
        }).config.warnings
      )
    ];
    "a configuration without flakes is warned" = [
      true
      (lib.any (lib.hasInfix "does not name \"flakes\"")
        (nixos {
          services.hyper-sync.enable = true;
          nix.settings.experimental-features = lib.mkForce [ ];
        }).config.warnings
      )
    ];
  };

  refusals = lib.mapAttrs (_: case: fired case.system) refused;
  messages = map (assertion: assertion.message) (assertions (enabled { }));
  # An interpolated path makes messages of one assertion differ: their first words identify it.
  kind = message: lib.head (lib.splitString " is /" message);
  covered = map kind (lib.concatMap (map (assertion: assertion.message)) (lib.attrValues refusals));

  accepts =
    option: value:
    (builtins.tryEval (
      builtins.deepSeq (enabled { ${option} = value; }).config.services.hyper-sync.${option} true
    )).success;
in
evaluated "module" (
  lib.concatLists (
    lib.mapAttrsToList (
      name: case:
      let
        said = map (assertion: assertion.message) refusals.${name};
      in
      lib.optional (
        lib.length said != 1 || !lib.hasInfix case.says (lib.head said)
      ) "${name}: expected one refusal with \"${case.says}\", got ${lib.generators.toPretty { } said}"
    ) refused
  )
  ++ map (message: "no case in which this assertion fires: ${message}") (
    lib.filter (message: !(lib.elem (kind message) covered)) messages
  )
  ++ lib.concatLists (
    lib.mapAttrsToList (
      option: values:
      map (value: "${option} accepts ${lib.generators.toPretty { } value}") (
        lib.filter (accepts option) values
      )
    ) illTyped
  )
  ++ lib.concatLists (
    lib.mapAttrsToList (
      name: pair:
      let
        expected = lib.head pair;
        found = lib.last pair;
      in
      lib.optional (expected != found)
        "${name}: expected ${lib.generators.toPretty { } expected}, found ${
          lib.generators.toPretty { } found
        }"
    ) holds
  )
) { }
