import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { extract } from 'tar'
import { outside, outsideSkip } from '../support/oracles.ts'
import { repoRoot, tempDir } from '../support/temp.ts'

/**
 * Programs outside of the tree that use the packed package, installed beside the dependencies that
 * are here. They are in test/programs.
 */

const root = repoRoot()
const folder = tempDir()
const modules = join(folder, 'node_modules')
let tarball = ''

before(async () => {
  // npm is told apart from a script of Windows' by its own shell.
  const packed = spawnSync(`npm pack --ignore-scripts --silent --pack-destination "${folder}"`, {
    cwd: root,
    shell: true,
    encoding: 'utf8',
  })
  assert.equal(packed.status, 0, packed.stderr)
  tarball = join(folder, packed.stdout.trim())
  await extract({ file: tarball, cwd: folder })
  mkdirSync(modules)
  for (const name of readdirSync(join(root, 'node_modules')))
    if (!name.startsWith('.')) symlinkSync(join(root, 'node_modules', name), join(modules, name), 'junction')
  cpSync(join(folder, 'package'), join(modules, 'xfskit'), { recursive: true })
  cpSync(join(root, 'test', 'programs'), folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }))
})

/** Run a program to its end, which it says. */
function run(...words: string[]): void {
  const { status, stdout, stderr } = spawnSync(process.execPath, words, { cwd: folder, encoding: 'utf8' })
  assert.equal(status, 0, `${words.join(' ')}: ${stdout}${stderr}`)
  assert.match(stdout, /^done/m)
}

const resolutions = {
  nodenext: { module: 'nodenext', moduleResolution: 'nodenext' },
  bundler: { module: 'esnext', moduleResolution: 'bundler' },
}

for (const [name, resolution] of Object.entries(resolutions)) {
  test(`TypeScript with ${name} resolution: it is typed, and runs`, () => {
    const outDir = join(folder, name)
    const config = {
      compilerOptions: {
        ...resolution, target: 'es2022', lib: ['es2023', 'esnext.disposable'], types: ['node'], strict: true, noUncheckedIndexedAccess: true, outDir,
      },
      include: ['*.ts'],
    } // biome-ignore format: one line
    writeFileSync(join(folder, `tsconfig.${name}.json`), JSON.stringify(config))
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', `tsconfig.${name}.json`], {
      cwd: folder,
      encoding: 'utf8',
    })
    assert.equal(status, 0, stdout)
    for (const file of readdirSync(outDir)) run(join(outDir, file))
  })
}

test('plain JavaScript: a module, and require', () => {
  run('plain.mjs')
  run('plain.cjs')
})

test('what would damage an image is refused', () => run('refused.mjs'))

test('publint and are-the-types-wrong find nothing', { skip: outsideSkip }, () => {
  const judged = (name: string, script: string, ...words: string[]): void => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(outside, name, script), ...words], {
      cwd: folder,
      encoding: 'utf8',
    })
    assert.equal(status, 0, stdout + stderr)
  }
  judged('publint', 'src/cli.js', '--strict', tarball)
  judged('@arethetypeswrong/cli', 'dist/index.js', '--profile', 'esm-only', tarball)
})

test('the reference is made without warnings', { skip: outsideSkip }, () => {
  const options = join(root, '.tools', 'outside', 'typedoc.json')
  const typedoc = join(outside, 'typedoc', 'bin', 'typedoc')
  const { status, stdout, stderr } = spawnSync(process.execPath, [typedoc, '--options', options, '--emit', 'none'], {
    encoding: 'utf8',
  })
  assert.equal(status, 0, stdout + stderr)
})
