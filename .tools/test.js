// Run the compiled tests: all, or the files that are named. usage: test.js [--quick] [OPTION OF NODE'S RUNNER | FILE] ...
// --quick: those that take less than a minute together, without xfsprogs and the kernel
// No shell expands a pattern here: that of Windows does not, nor does the runner of Node 20.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** Folders, and files without their ending, that --quick runs. */
const QUICK = ['house', 'util', 'btree/cursor', 'btree/query', 'mkfs/identical', 'db/write', 'db/describe', 'db/locate', 'file/inode', 'file/bytes', 'file/sequences', 'format/dir', 'space/rmap'] // biome-ignore format: a list

/** Milliseconds after which a test, or the process of a file, is ended and has failed. */
const LONGEST = process.env.XFSKIT_LONG === '1' ? 2 ** 31 - 1 : 600_000

/** All compiled test files, from the root. */
export function testFiles() {
  return readdirSync(join(root, 'dist', 'test'), { withFileTypes: true })
    .filter((room) => room.isDirectory())
    .flatMap(({ name }) =>
      readdirSync(join(root, 'dist', 'test', name)).map((file) => join('dist', 'test', name, file)),
    )
    .filter((file) => file.endsWith('.test.js'))
}

const isQuick = (file) => {
  const [room, name] = file.replace('.test.js', '').split(/[/\\]/).slice(-2)
  return QUICK.includes(room) || QUICK.includes(`${room}/${name}`)
}

function main() {
  const words = process.argv.slice(2)
  const quick = words.includes('--quick')
  const named = words.filter((word) => word.endsWith('.test.js'))
  const options = words.filter((word) => !named.includes(word) && word !== '--quick')
  const files = named.length > 0 ? named : quick ? testFiles().filter(isQuick) : testFiles()
  const limits = [`--test-concurrency=${quick ? 2 : 4}`, `--test-timeout=${LONGEST}`]
  const runner = ['--test', ...limits, '--test-reporter=spec', ...options]
  const { status } = spawnSync(process.execPath, [...runner, ...files], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...(quick && { XFSKIT_ORACLES: 'none' }) },
  })
  process.exitCode = status ?? 1
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
