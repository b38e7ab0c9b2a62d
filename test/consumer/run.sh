#!/usr/bin/env bash
# Installs the packed packages in a scratch project and uses it as applications do: types and a real job on a thread, as ES modules,
# as CommonJS, and bundled. Usage: run.sh <tarball> <tarball of race/> [node …]: the further Node binaries run what this one compiled.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tarballs=("$(realpath "$1")" "$(realpath "$2")")
shift 2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cp -R "$here/." "$scratch"
cd "$scratch"
npm install --no-audit --no-fund --loglevel=error "${tarballs[@]}"

# Every subpath, types and runtime.
node --input-type=module -e "
  import { readFileSync } from 'node:fs'
  const subpaths = ['fastify-concurrency', 'fastify-concurrency-race'].flatMap((name) => Object.keys(JSON.parse(readFileSync(\`node_modules/\${name}/package.json\`, 'utf8')).exports).map((subpath) => name + subpath.slice(1)))
    .filter((subpath) => !/\/(package\.json|register)$/.test(subpath)) // a preload exports nothing
  console.log(subpaths.map((subpath, index) => \`import * as part\${index} from '\${subpath}'\`).join('\n'))
  console.log(\`for (const part of [\${subpaths.map((_, index) => 'part' + index)}]) if (Object.keys(part).length === 0) throw new Error('a subpath without exports')\`)
" > subpaths.ts

for form in esm commonjs; do
  cp -R app.ts migrated.ts subpaths.ts jobs "$form"
  npx tsc -p "$form"
done
npx tsc -p bundler

# The code blocks of the docs, with the types that are published.
(cd "$here/../.." && node --import ./loader/typescript.js test/docs/packed.ts "$scratch")
services=docs-blocks/docs/typescript-and-bundlers

# What docs/typescript-and-bundlers.md says of CommonJS under TypeScript's options.
echo '{ "type": "commonjs" }' > "$services/package.json"
echo "import concurrency from 'fastify-concurrency'; console.log(concurrency)" > "$services/options.ts"
options() { npx tsc --ignoreConfig --noEmit --target es2023 --types node --skipLibCheck "$@" "$services/options.ts"; }
options --module nodenext
options --module node20
options --module commonjs --moduleResolution bundler
for refused in 'TS1479 --module node16' 'TS1479 --module node18' 'TS2307 --module commonjs --moduleResolution node10 --ignoreDeprecations 6.0'; do
  read -r code arguments <<< "$refused"
  # shellcheck disable=SC2086
  grep -q "$code" <<< "$(options $arguments)" || { echo "docs/typescript-and-bundlers.md: not $code for $arguments" >&2; exit 1; }
done
rm "$services/package.json" "$services/options.ts"

esbuild() { npx esbuild --bundle --platform=node --format=esm --packages=external --log-level=warning "$@"; }
esbuild --splitting --outdir=bundled esm/app.ts esm/jobs.ts
esbuild --outfile=one-file/app.js esm/app.ts

# Node 24 first, which most users have.
for node in "$@" node; do
  for app in esm/out/subpaths.js esm/out/app.js commonjs/out/subpaths.js commonjs/out/app.js commonjs/plain.cjs bundled/app.js; do
    timeout 60 "$node" --no-warnings "$app" || { echo "$app failed on Node $("$node" --version)" >&2; exit 1; }
  done
  # The services that the docs show, in JavaScript, and in TypeScript: with the docs' preload where Node can't run it by itself. In CommonJS: see below.
  for service in app.js app.ts; do
    preload=()
    [[ $service != app.ts || $("$node" --version) != v20.* ]] || preload=(--import "./$services/tsx.mjs")
    output=$(timeout 60 "$node" --no-warnings "${preload[@]}" "$services/$service")
    [[ $output == 49 ]] || { echo "$service of the docs printed $output on Node $("$node" --version)" >&2; exit 1; }
  done
  output=$(timeout 60 "$node" "$here/serve.mjs" "$services/app.cjs" /square)
  [[ $output == 49 ]] || { echo "app.cjs of the docs answered $output on Node $("$node" --version)" >&2; exit 1; }
  # The race detector finds the race of an application that knows nothing of it.
  code=0
  RACE=1 "$node" --no-warnings --import fastify-concurrency-race/register racy.mjs 2> race.log || code=$?
  ((code == 66)) && grep -q 'WARNING: RACE lost update on visits' race.log ||
    { cat race.log >&2; echo "racy.mjs ended with $code on Node $("$node" --version)" >&2; exit 1; }
  # The jobs file was not made an entry point of its own: that is said at boot, no thread starts a second app.
  if output=$(timeout 60 "$node" --no-warnings one-file/app.js 2>&1); then
    echo 'a bundle without an entry point for the jobs was accepted' >&2
    exit 1
  fi
  grep -q 'bundle it as an entry point of its own' <<< "$output" || { echo "$output" >&2; exit 1; }
  echo "consumers: ok on Node $("$node" --version)"
done
