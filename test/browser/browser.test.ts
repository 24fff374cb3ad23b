import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { createContext, runInContext } from 'node:vm'
import { type BuildResult, build } from 'esbuild'
import { XfsImage } from '../../src/index.ts'
import { makeImage, skip } from '../support/oracles.ts'
import { repoRoot, withTempDir } from '../support/temp.ts'
import { inChromium } from './chromium.ts'
import { visit } from './page.ts'

/** `xfskit/browser`, bundled as for a page: by name, for browsers, with what it imports. */
const bundle: BuildResult<{ write: false; metafile: true }> = await build({
  absWorkingDir: repoRoot(),
  entryPoints: ['dist/test/browser/page.js'],
  bundle: true,
  platform: 'browser',
  target: 'es2022',
  format: 'iife',
  globalName: 'page',
  write: false,
  metafile: true,
  logLevel: 'silent',
})
const script = bundle.outputFiles[0]?.text as string

/** An image with files of several kinds. */
const image = withTempDir((folder) => {
  const file = join(folder, 'image')
  makeImage(file, '32m')
  const image = XfsImage.open(file, { write: true })
  image.mkdir('/folder/in/folder', { recursive: true })
  image.writeFile('/folder/text', 'text\n')
  image.writeFile(
    '/folder/large',
    Uint8Array.from({ length: 3_000_000 }, (_, at) => (at * at) >>> 7),
  )
  image.symlink('folder/text', '/link')
  for (let i = 0; i < 300; i++) image.writeFile(`/folder/in/file ${i} ä`, `${i}`)
  image.close()
  return new Uint8Array(readFileSync(file)).buffer
})

test('Node sees this', async () => {
  const seen = await visit(image)
  assert.equal(seen.files.length, 307)
  const [, mode, size] = seen.files.find(([path]) => path === 'folder/large') ?? []
  assert.deepEqual([mode, size], [0o100644, 3_000_000])
  assert.deepEqual(seen.findings, [])
  assert.notDeepEqual(seen.damaged, [])
  assert.deepEqual(seen.changed, { text: 'written by a page\nwr18000', shared: true, findings: [] })
  assert.deepEqual([seen.made.names, seen.made.findings], [['hello'], []])
  assert.equal(seen.refused, 'INVAL: not an XFS image: it contains a gzip file')
})

const seenByNode = async (): Promise<unknown> => JSON.parse(JSON.stringify(await visit(image)))

test('the bundle has no warnings, and nothing from outside of the library', () => {
  assert.deepEqual(bundle.warnings, [])
  const inputs = Object.entries(bundle.metafile.inputs)
  assert.deepEqual(
    inputs.map(([file]) => file).filter((file) => !/^dist\/(src\/|test\/browser\/page\.js$)/.test(file)),
    [],
  )
  assert.deepEqual(
    inputs.flatMap(([, { imports }]) => imports.filter(({ external }) => external).map(({ path }) => path)),
    [],
  )
  assert.ok(!inputs.some(([file]) => file === 'dist/src/util/native.js'))
})

test('with the globals of the web alone it does the same', async () => {
  const context = createContext({ TextEncoder, TextDecoder, crypto, performance, setTimeout })
  runInContext(script, context)
  const bytes = runInContext(`const image = new ArrayBuffer(${image.byteLength}); new Uint8Array(image)`, context)
  bytes.set(new Uint8Array(image))
  const seen = await runInContext('page.visit(image).then(JSON.stringify)', context)
  assert.deepEqual(JSON.parse(seen), await seenByNode())
})

test('without the types of Node the types of a page are complete, and the sources compile', () => {
  withTempDir((folder) => {
    mkdirSync(join(folder, 'node_modules'))
    symlinkSync(repoRoot(), join(folder, 'node_modules', 'xfskit'), 'junction')
    const page = readFileSync(join(repoRoot(), 'test/browser/page.ts'))
    writeFileSync(join(folder, 'page.ts'), page)
    const compilerOptions = {
      ...{ strict: true, exactOptionalPropertyTypes: true, noEmit: true },
      ...{ target: 'es2022', module: 'esnext', moduleResolution: 'bundler', types: [] },
      ...{ allowImportingTsExtensions: true },
      lib: ['es2023', 'dom', 'esnext.disposable'],
    }
    const files = ['page.ts', join(repoRoot(), 'src/browser.ts')]
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
    const tsc = join(repoRoot(), 'node_modules/typescript/bin/tsc')
    const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8' })
    assert.equal(status, 0, stdout)
  })
})

test('in Chromium', { skip: skip.chromium, timeout: 300_000 }, async () => {
  assert.deepEqual(await inChromium(script, image), await seenByNode())
})
