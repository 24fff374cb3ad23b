// Run the compiled tests: all, or the files that are named. usage: test.js [OPTION OF NODE'S RUNNER | FILE] ...
// No shell expands a pattern here: that of Windows does not, nor does the runner of Node 20.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const words = process.argv.slice(2)
const named = words.filter((word) => word.endsWith('.test.js'))
const options = words.filter((word) => !named.includes(word))

function all() {
  return readdirSync(join(root, 'dist', 'test'), { withFileTypes: true })
    .filter((room) => room.isDirectory())
    .flatMap(({ name }) =>
      readdirSync(join(root, 'dist', 'test', name)).map((file) => join('dist', 'test', name, file)),
    )
    .filter((file) => file.endsWith('.test.js'))
}

const runner = ['--test', '--test-concurrency=4', '--test-reporter=spec', ...options]
const { status } = spawnSync(process.execPath, [...runner, ...(named.length > 0 ? named : all())], {
  cwd: root,
  stdio: 'inherit',
})
process.exitCode = status ?? 1
