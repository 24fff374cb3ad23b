import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { XfsImage } from '../../src/index.ts'
import { judge } from '../support/judge.ts'
import { repoRoot, tempDir } from '../support/temp.ts'

/** The programs of the README run, one after the other in one folder. */
const readme = readFileSync(join(repoRoot(), 'README.md'), 'utf8')
const programs = [...readme.matchAll(/^```js\n([\s\S]*?)^```/gm)]
  .map(([, text]) => text as string)
  .filter((text) => !text.includes('xfskit/browser'))

test('the recipes of the README', () => {
  const folder = tempDir()
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(repoRoot(), join(folder, 'node_modules', 'xfskit'), 'junction')
  for (const path of ['rootfs/etc', 'rootfs/usr/share']) mkdirSync(join(folder, path), { recursive: true })
  for (const name of ['one', 'two', 'other'])
    writeFileSync(join(folder, 'rootfs/usr/share', name), Buffer.alloc(100_000, name === 'other' ? 'o' : 'x'))
  const image = join(folder, 'root.img')
  const run = (program: string | undefined) => {
    writeFileSync(join(folder, 'program.mjs'), program ?? 'throw new Error("no such recipe")')
    return spawnSync(process.execPath, ['program.mjs'], { cwd: folder, encoding: 'utf8' })
  }
  assert.equal(programs.length, 4)
  const [build, dedupe, check, promises] = programs

  assert.deepEqual(pick(run(build)), [0, '', ''])
  judge(image)
  const built = XfsImage.open(image)
  assert.equal(built.readFile('/etc/hostname', 'utf8'), 'web1\n')
  assert.deepEqual(built.readdir('/usr/share').length, 3)

  assert.deepEqual(pick(run(dedupe)), [0, '204800 bytes are shared\n', ''])
  judge(image)
  assert.deepEqual(pick(run(check)), [0, '', ''])
  assert.deepEqual(pick(run(promises)), [0, "[ 'motd', 'copy' ]\n", ''])
  judge(image)

  // A record that claims seven owners for free blocks.
  const writes = ['numrecs 1', 'recs[1].startblock 3000', 'recs[1].blockcount 8', 'recs[1].refcount 7']
  const commands = ['agf 1', 'addr refcntroot', ...writes.map((write) => `write ${write}`)]
  const command = ['-x', image, ...commands.flatMap((one) => ['-c', one])]
  const broken = spawnSync(process.execPath, [join(repoRoot(), 'bin', 'xfskit.js'), 'db', ...command], {
    encoding: 'utf8',
  })
  assert.equal(broken.status, 0, broken.stderr)
  const repaired = run(check)
  assert.equal(repaired.status, 1, repaired.stderr)
  assert.match(repaired.stdout, /refcountbt counts 7 owners(.|\n)*^repaired$/m)
  judge(image)
})

const pick = ({ status, stdout, stderr }: { status: number | null; stdout: string; stderr: string }): unknown[] => [
  status,
  stdout,
  stderr,
]
