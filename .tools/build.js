// Build: tsc makes dist/src (the library, with types) and dist/test; esbuild bundles the program into dist/xfskit.js.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const dist = join(root, 'dist')

// What no source stands behind any more would still be run as a test.
for (const folder of ['src', 'test']) {
  if (!existsSync(join(dist, folder))) continue
  for (const file of readdirSync(join(dist, folder), { recursive: true, encoding: 'utf8' })) {
    const source = join(root, folder, file.replace(/(\.d\.ts|\.js|\.js\.map)$/, '.ts'))
    if (!existsSync(source)) rmSync(join(dist, folder, file), { force: true, recursive: true })
  }
}

const bundleOnly = process.argv.includes('--bundle-only')
const tsc = bundleOnly ? { status: 0 } : spawnSync(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc')], {
  cwd: root,
  stdio: 'inherit',
})
if (tsc.status !== 0) process.exit(tsc.status ?? 1)

const { build } = await import('esbuild')

/** yargs lays out its help with string-width, whose Intl.Segmenter takes 40 ms at start-up. Our help is plain text. */
const plainWidth = {
  name: 'plain-width',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^string-width$/ }, ({ importer }) =>
      /node_modules[\\/](yargs|cliui|wrap-ansi)[\\/]/.test(importer) ? { path: 'string-width', namespace: 'plain-width' } : undefined,
    )
    onLoad({ filter: /.*/, namespace: 'plain-width' }, () => ({ contents: 'export default (text) => text.length' }))
  },
}

await build({
  absWorkingDir: root,
  entryPoints: ['src/cli/main.ts'],
  outfile: process.env.XFSKIT_BUNDLE ?? 'dist/xfskit.js',
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  minifySyntax: true,
  minifyWhitespace: true,
  keepNames: false,
  legalComments: 'none',
  external: ['@node-rs/crc32'],
  banner: {
    js: "import{createRequire as $createRequire}from'node:module';const require=$createRequire(import.meta.url);",
  },
  logLevel: 'warning',
  plugins: [plainWidth],
})
