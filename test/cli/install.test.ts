import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { transformSync } from 'esbuild'
import { extract } from 'tar'
import { repoRoot, tempDir } from '../support/temp.ts'

const root = repoRoot()
const { tooOld } = createRequire(import.meta.url)(join(root, 'bin', 'node.js')) as {
  tooOld: (version: string) => string | undefined
}
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

const cacheHome = tempDir()

/** Run a script with this Node; its status and the output of both streams. */
function run(words: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, words, {
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1', XDG_CACHE_HOME: cacheHome, ...env },
  })
  return { status, text: stdout + stderr }
}

test('a Node that is too old gives a message of one line, for the versions that engines excludes', () => {
  assert.equal(manifest.engines.node, '^20.19.0 || >=22.12.0')
  const good = ['20.19.0', '20.20.2', '22.12.0', '22.23.5', '23.0.0', '24.0.0', '25.9.0', '100.0.0']
  const old = ['0.12.18', '9.11.2', '12.0.0', '18.20.8', '20.0.0', '20.18.3', '21.7.3', '22.0.0', '22.11.0']
  for (const version of good) assert.equal(tooOld(version), undefined, version)
  for (const version of old) assert.match(tooOld(version) ?? '', /^xfskit needs Node 2[02]\.1[29] or newer; this is \d/)

  const pretend = join(tempDir(), 'old.cjs')
  writeFileSync(
    pretend,
    "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.8' } })",
  )
  for (const script of ['bin/xfskit.js', '.tools/ensure.cjs']) {
    assert.deepEqual(run(['--require', pretend, join(root, script), '--version']), {
      status: 3,
      text: 'xfskit needs Node 20.19 or newer; this is 18.20.8\n',
    })
  }
})

test('the version check is in the syntax of Node 12', () => {
  for (const file of ['bin/node.js', 'bin/xfskit.js', '.tools/ensure.cjs']) {
    const source = readFileSync(join(root, file), 'utf8')
    assert.doesNotMatch(source, /require\('node:/, file)
    const lowered = (target: string) => transformSync(source, { target, loader: 'js' }).code
    assert.equal(lowered('node12.0'), lowered('esnext'), file)
  }
})

test('without a build the program prints how to build it', () => {
  const folder = realpathSync(tempDir())
  cpSync(join(root, 'bin'), join(folder, 'bin'), { recursive: true })
  const told = () => run([join(folder, 'bin', 'xfskit.js'), 'info', 'a.img'])
  const text = 'xfskit is not built yet: install what `npm pack` makes of a clone\n'
  assert.deepEqual(told(), { status: 3, text })
  mkdirSync(join(folder, '.tools'))
  assert.deepEqual(told(), {
    status: 3,
    text: `xfskit is not built yet: run \`npm ci && npm run build\` in ${folder}\n`,
  })
})

test('scripts install the dependencies where they are missing, and only there', () => {
  const clone = tempDir()
  for (const part of ['bin', '.tools', 'package.json', 'package-lock.json']) {
    cpSync(join(root, part), join(clone, part), { recursive: true })
  }
  const npm = join(clone, 'npm.cjs')
  const said = join(clone, 'said')
  writeFileSync(
    npm,
    `require('node:fs').writeFileSync(${JSON.stringify(said)}, process.argv[2])
    process.exitCode = Number(process.env.STATUS ?? 0)`,
  )
  const ensure = (env: NodeJS.ProcessEnv = {}) =>
    run([join(clone, '.tools', 'ensure.cjs')], { npm_execpath: npm, ...env })

  const installing = 'xfskit: installing dependencies (npm ci)\n'
  assert.deepEqual(ensure(), { status: 0, text: installing })
  assert.equal(readFileSync(said, 'utf8'), 'ci')
  assert.deepEqual(ensure({ STATUS: '7' }), { status: 7, text: installing })

  symlinkSync(join(root, 'node_modules'), join(clone, 'node_modules'), 'junction')
  assert.deepEqual(ensure(), { status: 0, text: '' })

  // The lock files that npm writes after `npm ci --omit=dev`, and after one with an older lock
  // file.
  const lock = JSON.parse(readFileSync(join(root, 'node_modules', '.package-lock.json'), 'utf8'))
  const { esbuild, ...others } = keysWithoutFolder(lock.packages)
  for (const packages of [others, { ...others, esbuild: { ...esbuild, version: '0.0.1' } }]) {
    const partly = tempDir()
    cpSync(clone, partly, { recursive: true, filter: (from) => !from.endsWith('node_modules') })
    mkdirSync(join(partly, 'node_modules'))
    writeFileSync(
      join(partly, 'node_modules', '.package-lock.json'),
      JSON.stringify({
        packages: Object.fromEntries(Object.entries(packages).map(([name, has]) => [`node_modules/${name}`, has])),
      }),
    )
    assert.deepEqual(run([join(partly, '.tools', 'ensure.cjs')], { npm_execpath: npm }), {
      status: 0,
      text: installing,
    })
  }
})

type Packages = Record<string, { version: string }>
const keysWithoutFolder = (packages: Packages): Packages =>
  Object.fromEntries(Object.entries(packages).map(([path, has]) => [path.replace(/^node_modules\//, ''), has]))

test('the scripts of package.json are for any shell, and installing runs none', () => {
  for (const [name, line] of Object.entries<string>(manifest.scripts)) {
    assert.match(line, /^[\w./: -]+( && [\w./: -]+)*$/, `${name}: only words and &&`)
    assert.doesNotMatch(name, /^(pre|post)?(install|prepare)$/)
  }
})

test('the package that npm packs runs by itself, without any other', async () => {
  const folder = tempDir()
  // On Windows npm is a script, which needs a shell.
  const packed = spawnSync(`npm pack --ignore-scripts --silent --pack-destination "${folder}"`, {
    cwd: root,
    shell: true,
    encoding: 'utf8',
  })
  assert.equal(packed.status, 0, packed.stderr)
  await extract({ file: join(folder, packed.stdout.trim()), cwd: folder })
  const installed = join(folder, 'package')
  for (const name of ['test', '.tools', 'src', 'fixtures']) assert(!existsSync(join(installed, name)), name)

  const image = join(folder, 'a.img')
  const xfskit = (...words: string[]) => run([join(installed, manifest.bin.xfskit), ...words])
  writeFileSync(join(folder, 'file'), Buffer.alloc(2_000_000, 'text'))
  const made = xfskit('mkfs', '--size', '300m', image)
  assert.equal(made.status, 0, made.text)
  assert.equal(xfskit('put', image, join(folder, 'file'), '/file').status, 0)
  assert.deepEqual(xfskit('check', image), { status: 0, text: 'no inconsistencies\n' })
  assert.equal(xfskit('get', image, '/file', join(folder, 'back')).status, 0)
  assert(readFileSync(join(folder, 'back')).equals(readFileSync(join(folder, 'file'))))
})
