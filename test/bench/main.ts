import { Output } from '../../src/cli/output.ts'
import { files } from './files.ts'
import { type Benchmark, type Measured, measured, type Side } from './harness.ts'
import { reflink } from './reflink.ts'
import { scan } from './scan.ts'
import { startup } from './startup.ts'

/**
 * `npm run bench`: run all benchmarks, or those of the given groups; print a table and JSON, with
 * `-- --json` only JSON.
 */
const groups: Readonly<Record<string, readonly Benchmark[]>> = { startup, scan, reflink, files }

const words = process.argv.slice(2)
const wanted = words.filter((word) => !word.startsWith('-'))
const unknown = wanted.find((word) => groups[word] === undefined)
if (unknown !== undefined) {
  process.stderr.write(`bench: there is no group ${unknown}; there are ${Object.keys(groups).join(', ')}\n`)
  process.exit(3)
}

const seconds = (side: Side): string =>
  side.ms < 1000 ? `${side.ms.toFixed(0)} ms` : `${(side.ms / 1000).toFixed(1)} s`
const cpu = ({ cpuMs }: Side): string => (cpuMs === undefined ? '' : `${(cpuMs / 1000).toFixed(2)} s`)
const peak = (side: Side): string => (side.peak === undefined ? '' : `${(side.peak / 1024).toFixed(0)} MiB`)
const ratio = (value: number | undefined): string => (value === undefined ? '' : value.toFixed(2))

const columns = [
  'ours / theirs',
  'time',
  'theirs',
  'ratio',
  'aim',
  'CPU',
  'theirs ',
  'CPU ratio',
  'peak',
  'theirs  ',
  'note',
]
const rowOf = ({ name, ours, theirs, ratio: times, cpuRatio, aim, note }: Measured): Record<string, string> => ({
  'ours / theirs': name,
  time: seconds(ours),
  theirs: seconds(theirs),
  ratio: ratio(times),
  aim: aim === undefined ? '' : String(aim),
  CPU: cpu(ours),
  'theirs ': cpu(theirs),
  'CPU ratio': ratio(cpuRatio),
  peak: peak(ours),
  'theirs  ': peak(theirs),
  note: note ?? '',
}) // biome-ignore format: as the columns

const rows: Measured[] = []
for (const [name, benchmarks] of Object.entries(groups)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  for (const benchmark of benchmarks) {
    const comparison = benchmark()
    if (comparison === undefined) continue
    const row = measured(comparison)
    process.stderr.write(`${row.name}: ${ratio(row.ratio)}\n`)
    rows.push(row)
  }
}

if (!words.includes('--json')) {
  const text = new Output({ form: 'text' })
  await text.table('bench', columns, rows.map(rowOf))
  text.flush()
}
const json = new Output({ form: 'json' })
json.document('bench', { node: process.version, platform: `${process.platform} ${process.arch}`, rows }, () => '')
json.flush()
