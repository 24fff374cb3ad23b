import { Output } from '../../src/cli/output.ts'
import { type Benchmark, measured } from './harness.ts'
import { startup } from './startup.ts'

/** `npm run bench`: all benchmarks, or those whose group is named; `-- --json` for programs. */
const groups: Readonly<Record<string, readonly Benchmark[]>> = { startup }

const words = process.argv.slice(2)
const out = new Output({ form: words.includes('--json') ? 'json' : 'text' })
const wanted = words.filter((word) => !word.startsWith('-'))
const rows = Object.entries(groups)
  .filter(([name]) => wanted.length === 0 || wanted.includes(name))
  .flatMap(([, benchmarks]) => benchmarks)
  .flatMap((benchmark) => {
    const comparison = benchmark()
    return comparison ? [measured(comparison)] : []
  })
const round = (value: number, digits: number): number => Number(value.toFixed(digits))
await out.table(
  'bench',
  ['what', 'ours ms', 'theirs ms', 'ratio', 'aim', 'note'],
  rows.map(({ name, oursMs, theirsMs, ratio, aim, note }) => ({
    what: name,
    'ours ms': round(oursMs, 1),
    'theirs ms': round(theirsMs, 1),
    ratio: round(ratio, 2),
    aim: aim ?? '',
    note: note ?? '',
  })),
)
out.flush()
