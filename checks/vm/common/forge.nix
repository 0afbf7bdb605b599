# A git host over TLS: nginx in front of `git http-backend`, with one repository, /srv/git/config.git.
#
# The first commit is made at boot; its flake takes the system from the file `system`. /srv/token holds the password
# that is asked for; it is read at each request.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  flake = pkgs.writeText "flake.nix" ''
    {
      outputs = _: {
        nixosConfigurations.machine.config.system.build.toplevel =
          let
            path = builtins.readFile ./system;
          in
          builtins.appendContext path { ''${path} = { path = true; }; };
      };
    }
  '';
in
{
  options.forge = {
    certificates = lib.mkOption { type = lib.types.package; };
    token = lib.mkOption { type = lib.types.nullOr lib.types.str; };
  };

  config = {
    networking.firewall.allowedTCPPorts = [ 443 ];
    environment.systemPackages = [ pkgs.gitMinimal ];
    programs.git = {
      enable = true;
      package = pkgs.gitMinimal;
      config = {
        user.name = "Test";
        user.email = "test@example.org";
        init.defaultBranch = "main";
        safe.directory = "*";
      };
    };

    systemd.services.repository = {
      wantedBy = [ "multi-user.target" ];
      path = [ pkgs.gitMinimal ];
      environment.HOME = "/root";
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
      };
      script = ''
        mkdir -p /srv/git
        git init --quiet --bare /srv/git/config.git
        git clone --quiet /srv/git/config.git /srv/work
        cd /srv/work
        install -m 644 ${flake} flake.nix
        echo '{ }' >configuration.nix
        git add --all
        git commit --quiet --message first
        git push --quiet origin HEAD:main
        ${lib.optionalString (config.forge.token != null) ''
          echo "x-access-token:{PLAIN}${config.forge.token}" >/srv/token
        ''}
      '';
    };

    services.fcgiwrap.instances.git = {
      process.user = "root";
      process.group = "root";
      socket = { inherit (config.services.nginx) user group; };
    };
    services.nginx = {
      enable = true;
      virtualHosts.forge = {
        onlySSL = true;
        sslCertificate = "${config.forge.certificates}/forge.crt";
        sslCertificateKey = "${config.forge.certificates}/forge.key";
        locations."/".extraConfig = ''
          ${lib.optionalString (config.forge.token != null) ''
            auth_basic forge;
            auth_basic_user_file /srv/token;
          ''}
          client_max_body_size 0;
          include ${config.services.nginx.package}/conf/fastcgi_params;
          fastcgi_param SCRIPT_FILENAME ${pkgs.gitMinimal}/libexec/git-core/git-http-backend;
          fastcgi_param GIT_PROJECT_ROOT /srv/git;
          fastcgi_param GIT_HTTP_EXPORT_ALL "";
          fastcgi_param PATH_INFO $uri;
          fastcgi_pass unix:${config.services.fcgiwrap.instances.git.socket.address};
        '';
      };
    };
  };
}
