{
  description = "A workbook that extends Istio with WebAssembly: the article's two shells, made to work";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "aarch64-darwin"
      ];
      # One attribute for each system: f gets that system's packages.
      forEach = f: nixpkgs.lib.genAttrs systems (system: f (import nixpkgs { inherit system; }));

      # The compiler and the linker come from nixpkgs together. nixpkgs' own rustc has the
      # std of wasm32-unknown-unknown and links it with lld; a rustc from an overlay beside
      # this cargo would look for that std in another place.
      rust = pkgs: [
        pkgs.rustc
        pkgs.cargo
        pkgs.lld
        pkgs.llvmPackages.clang
      ];
      # What ./workbook itself needs. The Python packages come from requirements.lock, the
      # same hashes as everywhere else, so that Nix users run what all others run.
      base = pkgs: [
        pkgs.python3
        pkgs.git
        pkgs.cacert
      ];
      # Wheels bring compiled libraries that expect these where a usual Linux has them.
      libraryPath =
        pkgs:
        pkgs.lib.optionalString pkgs.stdenv.isLinux ''
          export LD_LIBRARY_PATH="${
            pkgs.lib.makeLibraryPath [
              pkgs.stdenv.cc.cc.lib
              pkgs.zlib
            ]
          }''${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
        '';
    in
    {
      devShells = forEach (pkgs: rec {
        # nix develop .#wasm: writes, builds and runs everything in the notebooks.
        wasm = pkgs.mkShell {
          packages = rust pkgs ++ base pkgs;
          shellHook = libraryPath pkgs + ''
            echo "wasm shell: $(rustc --version); next: ./workbook lab"
          '';
        };
        # nix develop .#kubespray: the tools for a cluster of one's own.
        kubespray = pkgs.mkShell {
          packages = [
            pkgs.ansible
            (pkgs.python3.withPackages (python: [
              python.pip
              python.netaddr
              python.jmespath
            ]))
            pkgs.kubectl
            pkgs.kubernetes-helm
            pkgs.istioctl
            pkgs.jq
          ];
          # Set only where the learner has set nothing: a shell must not point kubectl at
          # another cluster than the one that was chosen before.
          shellHook = ''
            export ANSIBLE_CONFIG="''${ANSIBLE_CONFIG:-$PWD/ansible.cfg}"
            export KUBECONFIG="''${KUBECONFIG:-$HOME/.kube/config}"
            echo "kubespray shell: kubectl uses $KUBECONFIG"
          '';
        };
        default = wasm;
      });

      packages = forEach (pkgs: rec {
        # The bootstrap with its tools in PATH; it works on the clone that it is called in.
        workbook = pkgs.writeShellApplication {
          name = "workbook";
          runtimeInputs = rust pkgs ++ base pkgs;
          text = libraryPath pkgs + ''
            if [ ! -x ./workbook ]; then
              echo "run this in the top folder of a clone of the workbook" >&2
              exit 1
            fi
            exec ./workbook "$@"
          '';
        };
        lab = pkgs.writeShellApplication {
          name = "workbook-lab";
          runtimeInputs = [ workbook ];
          text = ''exec workbook lab "$@"'';
        };
        default = lab;
      });

      apps = nixpkgs.lib.genAttrs systems (system: rec {
        # nix run .#lab, or just: nix run
        lab = {
          type = "app";
          program = "${self.packages.${system}.lab}/bin/workbook-lab";
          meta.description = "Set up what is missing and open the notebooks in JupyterLab";
        };
        workbook = {
          type = "app";
          program = "${self.packages.${system}.workbook}/bin/workbook";
          meta.description = "The workbook's one command, in a clone";
        };
        default = lab;
      });

      checks = forEach (pkgs: {
        # The wasm shell's promise, kept or broken in one build: a module comes out of it.
        wasm-toolchain = pkgs.runCommand "wasm-toolchain" { nativeBuildInputs = rust pkgs; } ''
          cat > answer.rs <<'RUST'
          #[unsafe(no_mangle)]
          pub extern "C" fn answer(n: u32) -> u32 { n.to_string().len() as u32 }
          RUST
          rustc --edition 2024 --crate-type cdylib --target wasm32-unknown-unknown \
            -C linker=lld -C linker-flavor=wasm-ld -O answer.rs -o answer.wasm
          head -c 4 answer.wasm | od -An -tx1 | grep -q '00 61 73 6d'
          cp answer.wasm "$out"
        '';
        bootstrap = pkgs.runCommand "bootstrap" { nativeBuildInputs = [ pkgs.python3 ]; } ''
          python3 ${self}/workbook run --help > "$out"
        '';
      });

      formatter = forEach (pkgs: pkgs.nixfmt-rfc-style);
    };
}
