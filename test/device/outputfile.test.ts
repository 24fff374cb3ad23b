import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { outputFile, writeOutput } from '../../src/device/outputfile.ts'
import { repoRoot, tempDir } from '../support/temp.ts'

/** Files that a killed process leaves. */

const skip = process.platform === 'linux' ? false : 'only Linux tells for certain that a process has ended'

/** A process that has begun the file, and locked it as a command that changes a copy does. */
async function writer(target: string): Promise<ChildProcess> {
  const from = (name: string): string =>
    JSON.stringify(pathToFileURL(join(repoRoot(), 'dist', 'src', 'device', name)).href)
  const script = `
    import { writeFileSync } from 'node:fs'
    import { outputFile } from ${from('outputfile.js')}
    import { openFile } from ${from('file.js')}
    const file = outputFile(${JSON.stringify(target)})
    writeFileSync(file.path, 'half')
    openFile(file.path, 'rw')
    console.log('begun')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise((resolve) => child.stdout?.once('data', resolve))
  return child
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('close', resolve))
  child.kill('SIGKILL')
  await ended
}

test('what a killed process left of an output is removed by the next that writes it, and nothing else', {
  skip,
}, async (t) => {
  const folder = tempDir()
  const names = (): string[] => readdirSync(folder).sort()
  const long = 'n'.repeat(250)
  const children = await Promise.all(['out', long, 'out', 'other'].map((name) => writer(join(folder, name))))
  const [first, second, running, other] = children as [ChildProcess, ChildProcess, ChildProcess, ChildProcess]
  t.after(() => children.forEach((child) => void child.kill('SIGKILL')))
  assert.equal(names().length, 8, 'four files and their locks')
  await Promise.all([first, second, other].map(kill))
  // Files with less content or another name may belong to other programs.
  const strange = [
    '.out.xfskit-1-1',
    '.out.xfskit-1-1-0-1',
    '.out.xfskit-9999999-1-abcdef012345-1',
    '.out.mine',
    'out.xfskit-1-1-0-1',
  ]
  for (const name of strange) writeFileSync(join(folder, name), 'mine')
  writeOutput(join(folder, 'out'), Buffer.from('whole'))
  const left = names().filter((name) => !strange.includes(name) && name !== 'out')
  assert.equal(left.length, 6, left.join('\n'))
  const files = left.filter((name) => name.endsWith('-1'))
  const of = ({ pid }: ChildProcess): number => files.filter((name) => name.includes(`.xfskit-${pid}-`)).length
  assert.deepEqual([first, second, running, other].map(of), [0, 1, 1, 1])
  outputFile(join(folder, long)).abandon()
  outputFile(join(folder, 'other')).abandon()
  await kill(running)
  outputFile(join(folder, 'out')).abandon()
  assert.deepEqual(names(), ['out', ...strange].sort())
})
