// A table of test sites by folder: how many there are, how many ran, were skipped and failed.
//   node .tools/sites.js [--anywhere] [FOLDER | TESTFILE] ...
// --anywhere: as on a machine without xfsprogs, by a user that is not root where one can be taken
import { spawnSync } from 'node:child_process'
import { chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { testFiles } from './test.js'

const words = process.argv.slice(2)
const anywhere = words.includes('--anywhere')
const named = words.filter((word) => !word.startsWith('--'))
const chosen = testFiles().filter(
  (file) =>
    named.length === 0 ||
    named.some((word) => file.replaceAll('\\', '/').includes(word.endsWith('.js') ? word : `dist/test/${word}/`)),
)

/** As nobody, where root runs this and nobody can read what is here. */
const user = { uid: 65534, gid: 65534 }
const env = { ...process.env, ...(anywhere && { XFSKIT_ORACLES: 'none' }) }
delete env.XFSKIT_REQUIRE_ORACLES
const run = (args, more) => spawnSync(process.execPath, args, { encoding: 'utf8', maxBuffer: 2 ** 28, env, ...more })
const asNobody = anywhere && process.getuid?.() === 0 && run(['--version'], user).status === 0 ? user : {}
if (asNobody.uid !== undefined) {
  // npm writes there.
  env.HOME = mkdtempSync(join(tmpdir(), 'xfskit-home-'))
  chownSync(env.HOME, user.uid, user.gid)
  process.once('exit', () => rmSync(env.HOME, { recursive: true, force: true }))
}

const folders = new Map()
const reasons = new Map()
for (const file of chosen) {
  const folder = file.split(/[/\\]/).at(-2)
  const { stdout, error } = run(['--test', '--test-reporter=tap', file], asNobody)
  if (error) throw error
  const row = folders.get(folder) ?? { run: 0, skipped: 0, failed: 0 }
  folders.set(folder, row)
  // Sites are the tests of a file; what is in a suite is indented once more.
  for (const [, not, name, skip] of stdout.matchAll(/^(?: {4})*(not )?ok \d+ - (.*?)(?: # SKIP ?(.*))?$/gm)) {
    if (name.endsWith('.test.js')) continue
    if (skip !== undefined) {
      row.skipped++
      reasons.set(skip, (reasons.get(skip) ?? 0) + 1)
    } else if (not) {
      row.failed++
      console.log(`failed: ${file}: ${name}`)
    } else row.run++
  }
}

const line = (name, { run, skipped, failed }) =>
  console.log(
    [name.padEnd(12), ...[run + skipped + failed, run, skipped, failed].map((n) => `${n}`.padStart(8))].join(''),
  )
console.log(['folder'.padEnd(12), ...['sites', 'run', 'skipped', 'failed'].map((word) => word.padStart(8))].join(''))
const total = { run: 0, skipped: 0, failed: 0 }
for (const [folder, row] of folders) {
  line(folder, row)
  for (const key of Object.keys(total)) total[key] += row[key]
}
line('all', total)
for (const [reason, count] of [...reasons].sort((a, b) => b[1] - a[1]))
  console.log(`${`${count}`.padStart(4)} skipped: ${reason}`)
process.exitCode = total.failed > 0 ? 1 : 0
