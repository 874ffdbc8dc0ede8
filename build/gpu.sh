# Runs what only a GPU can tell: its tests, and the benchmarks on it. Sourced by ./dev; expects $root and build.sh.

check_gpu() {
    # Either TorchSharp's package with CUDA, or with TORCH_BACKEND=installed the libtorch that LD_LIBRARY_PATH names.
    export TORCH_BACKEND=${TORCH_BACKEND:-cuda-linux}
    if [ "$TORCH_BACKEND" = installed ] && [ -z "${LD_LIBRARY_PATH:-}" ]; then
        echo "dev gpu: TORCH_BACKEND=installed needs LD_LIBRARY_PATH to name the folder of libtorch.so," \
            "such as that of an installed PyTorch:" >&2
        echo "  LD_LIBRARY_PATH=\$(python3 -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), \"lib\"))')" >&2
        exit 2
    fi
    build tests/Actipress.Tests
    local cli tests folder name failed=0
    cli="$(output_of Actipress.Cli)/Actipress.Cli.dll" tests="$(output_of Actipress.Tests)/Actipress.Tests"
    name=$(dotnet "$cli" status | sed -n 's/^gpu *cuda:0: //p')
    case $name in
        none*) echo "dev gpu: no GPU to run on: $name" >&2; exit 2 ;;
    esac
    folder=${1:-$root/runs/gpu}/$(echo "${name%% (compute*}" | tr -cs 'A-Za-z0-9\n' '-')
    mkdir -p "$folder"
    echo "$name; results go to $folder" >&2
    dotnet "$cli" status --json >"$folder/status.json"
    # A step that fails leaves its words in the folder and does not keep the others from running.
    step() {
        local what=$1; shift
        echo "dev gpu: $what" >&2
        "$@" >"$folder/$what.txt" 2>&1 || { failed=1; echo "dev gpu: $what failed: $folder/$what.txt" >&2; }
    }
    step tests "$tests" -noColor -namespace Actipress.Tests.Gpu
    step bench dotnet "$cli" bench codecs scaling steps --codec dct:10 st:10 --device cuda --out "$folder"
    step memory-resnet18 dotnet "$cli" memory ResNet18 --batch 512 --device cuda --json
    step memory-unet3d dotnet "$cli" memory UNet3D --device cuda --json
    step table2 dotnet "$cli" reproduce table2 --device cuda --out "$folder/table2"
    return $failed
}
