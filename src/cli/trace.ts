import type { TraceMessage, TraceSubject } from '../util/trace.ts'
import { UsageError } from './command.ts'
import type { Output } from './output.ts'

/**
 * `--trace refcount,rmap`: print events of these trace points (util/trace.ts) as lines on standard
 * error:
 *
 *   refcount modify agno=0 agbno=13 length=4 from=1 to=2
 *
 * @throws UsageError for an unknown subject
 */
export async function printTrace(list: string, out: Output): Promise<void> {
  const { trace } = await import('../util/trace.ts')
  const subjects = Object.keys(trace) as TraceSubject[]
  const wanted = list === 'all' ? subjects : (list.split(',') as TraceSubject[])
  for (const subject of wanted) {
    if (!subjects.includes(subject)) {
      throw new UsageError(`--trace: unknown subject ${subject}; use ${subjects.join(', ')}, or all`)
    }
    trace[subject].subscribe((message) => out.error(line(subject, message)))
  }
}

function line(subject: TraceSubject, { point, ...facts }: TraceMessage): string {
  const shown = Object.entries(facts).flatMap(([name, value]) => (value === undefined ? [] : [` ${name}=${value}`]))
  return `${subject} ${point}${shown.join('')}\n`
}
