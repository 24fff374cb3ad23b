// Build: tsc makes dist/src (the library, with types) and dist/test; esbuild bundles the program into dist/xfskit.cjs.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { isBuiltin } from 'node:module'
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

/** Node's own modules are loaded by the commands that need them, not all of them at start-up as imports of one bundle would be. */
const lazyBuiltins = {
  name: 'lazy-builtins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /.*/ }, ({ path, kind }) =>
      kind !== 'entry-point' && isBuiltin(path)
        ? { path: path.replace(/^node:/, ''), namespace: 'builtin' }
        : undefined,
    )
    onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule('${path}')`,
    }))
  },
}

const bundleOnly = process.argv.includes('--bundle-only')
const tsc = bundleOnly
  ? { status: 0 }
  : spawnSync(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc')], {
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
      /node_modules[\\/](yargs|cliui|wrap-ansi)[\\/]/.test(importer)
        ? { path: 'string-width', namespace: 'plain-width' }
        : undefined,
    )
    onLoad({ filter: /.*/, namespace: 'plain-width' }, () => ({ contents: 'export default (text) => text.length' }))
  },
}

const bundle = process.env.XFSKIT_BUNDLE ?? join(dist, 'xfskit.cjs')

// CommonJS: without the loader of ES modules, Node starts a good deal sooner.
await build({
  absWorkingDir: root,
  entryPoints: ['src/cli/main.ts'],
  outfile: bundle,
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20.19',
  // The smaller the file, the sooner it has started. With XFSKIT_DEBUG=1 stacks are told by the map.
  minify: true,
  sourcemap: true,
  sourcesContent: false,
  legalComments: 'none',
  external: ['@node-rs/crc32'],
  define: { 'import.meta.url': '$url' },
  banner: { js: "const $url=require('node:url').pathToFileURL(__filename).href;" },
  logLevel: 'warning',
  plugins: [plainWidth, lazyBuiltins],
})
