#!/usr/bin/env bash
# Writes the checksums of what every codec stores, after a change that is meant to change it: see CodecBytesTests.
set -euo pipefail
cd "$(dirname "$0")/../.."
found=$(mktemp)
ACTIPRESS_WRITE_GOLDEN=$found ./dev test -class '*CodecBytesTests' >/dev/null || true
LC_ALL=C sort "$found" > tests/Golden/codec_bytes.tsv
rm "$found"
git diff --stat -- tests/Golden/codec_bytes.tsv
