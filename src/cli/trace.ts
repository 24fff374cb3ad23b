import type { TraceMessage, TraceSubject } from '../util/trace.ts'
import { UsageError } from './command.ts'
import type { Output } from './output.ts'

/**
 * `--trace refcount,rmap`: what the trace points of these subjects publish (util/trace.ts), as lines on standard error:
 *
 *   refcount modify agno=0 agbno=13 length=4 from=1 to=2
 *
 * @throws UsageError for a subject that there is not
 */
export async function printTrace(list: string, out: Output): Promise<void> {
  const { trace } = await import('../util/trace.ts')
  const subjects = Object.keys(trace) as TraceSubject[]
  const wanted = list === 'all' ? subjects : (list.split(',') as TraceSubject[])
  for (const subject of wanted) {
    if (!subjects.includes(subject)) {
      throw new UsageError(`--trace: no subject ${subject}; there are ${subjects.join(', ')}, or all`)
    }
    trace[subject].subscribe((message) => out.error(line(subject, message as TraceMessage)))
  }
}

function line(subject: TraceSubject, { point, ...facts }: TraceMessage): string {
  const shown = Object.entries(facts).flatMap(([name, value]) => (value === undefined ? [] : [` ${name}=${value}`]))
  return `${subject} ${point}${shown.join('')}\n`
}
