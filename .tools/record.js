// Record what the reference tools and the kernel answer, for machines without them (test/support/reference.ts).
// As root, with xfsprogs: record.js [--images] TESTFILE...   the compiled tests whose answers are kept
// --images: images that the kernel made are recorded too; then all tests that use them are to be named.
import { spawnSync } from 'node:child_process'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

const images = process.argv.includes('--images')
const files = process.argv.slice(2).filter((word) => word.endsWith('.test.js'))
const env = { ...process.env, XFSKIT_REQUIRE_ORACLES: '1', XFSKIT_RECORD: '1' }
const run = (names, more) =>
  spawnSync(process.execPath, ['--test', '--test-concurrency=1', '--test-reporter=spec', ...names], {
    cwd: dirname(dirname(fileURLToPath(import.meta.url))),
    env: { ...env, ...more },
    stdio: 'inherit',
  }).status ?? 1

// Images first, and answers about them then: those of all files are about the same images.
let status = 0
if (images) status = run(files, { XFSKIT_RECORD_IMAGES: '1' })
if (status === 0) status = run(files, {})
process.exitCode = status
