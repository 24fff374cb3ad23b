import { XfsError } from '../../errors.ts'
import { counted } from '../../util/counted.ts'
import { escapeJson } from '../../util/escape.ts'
import { check as checkImage } from '../../xfsimage/repairs.ts'
import { hostPath, type ImageArguments, imageOptions } from '../arguments.ts'
import { CannotRun, type Command, DIRTY_LOG, FAILED, OK, UsageError } from '../command.ts'
import { openingError, readOptionsOf } from '../open.ts'
import type { Output } from '../output.ts'
import { allProblems, explained, explanation, problemTable } from '../problems.ts'
import { type CheckReport, failedReport, githubOf, junitOf, reportOf, sarifOf } from '../reports.ts'

const FORMATS = ['text', 'json', 'sarif', 'junit', 'github'] as const
type Format = (typeof FORMATS)[number]

interface Arguments extends ImageArguments {
  readonly image?: string
  readonly format?: Format
  readonly explain?: string
  readonly listProblems?: boolean
}

const check: Command<Arguments> = {
  command: 'check [image]',
  describe: 'check the filesystem for inconsistencies, without changing it',
  examples: [
    ['$0 check disk.img', 'exit status 0: no problems, 1: inconsistencies, 2: dirty log, 3: not checked'],
    ['$0 check --format junit disk.img >check.xml', 'a report for a CI server'],
    ['$0 check --explain refcountbt.high', 'what a problem is, and what its repair does'],
  ],
  builder: (yargs) =>
    imageOptions(yargs)
      .positional('image', { type: 'string', describe: 'image file or block device' })
      .option('format', {
        choices: FORMATS,
        requiresArg: true,
        describe:
          'json: as --json; sarif: SARIF 2.1.0; junit: XML of JUnit; github: annotations in a workflow of GitHub',
      })
      .option('explain', { type: 'string', requiresArg: true, describe: 'describe the problem with this id' })
      .option('list-problems', { type: 'boolean', describe: 'list every kind of problem and what its repair does' })
      .conflicts('explain', 'list-problems'),
  handler: async (args, { out }) => {
    const { image, format = out.json ? 'json' : 'text' } = args
    if (args.explain !== undefined || args.listProblems === true) {
      if (image !== undefined) throw new UsageError(`unexpected operand ${image}`)
      return describeProblems(out, args.explain)
    }
    if (image === undefined) throw new UsageError('missing operand: IMAGE')
    if (out.json && format !== 'json') throw new UsageError(`--json and --format ${format} exclude each other`)
    if (format === 'json') out.form = 'json'
    let report: CheckReport
    try {
      const log = args.replay === false ? 'ignore' : 'recover'
      report = reportOf(
        image,
        await checkImage({ path: hostPath(image) }, { ...readOptionsOf({ out }, image, args), log }),
      )
    } catch (error) {
      const failure = failureOf(error, image)
      if (format !== 'text' && format !== 'json') {
        const code = error instanceof XfsError ? error.code : failure.name
        print(out, failedReport(image, { code, message: failure.message }), format)
      }
      if (!(failure instanceof XfsError)) throw failure
      out.message('error', 'xfskit check', failure.message, { code: failure.code, status: DIRTY_LOG })
      return DIRTY_LOG
    }
    print(out, report, format)
    if (report.dirty) {
      const state =
        args.replay === false ? 'these findings are of the state on disk' : 'this is the state after its recovery'
      out.message('warning', 'xfskit check', `${image}: the log is dirty: ${state}; run xfskit recover`)
    }
    return report.consistent ? (report.dirty ? DIRTY_LOG : OK) : FAILED
  },
}
export default check

/** One problem, or all. */
function describeProblems(out: Output, id: string | undefined): number {
  const problems = id === undefined ? allProblems() : [explained(id)]
  out.document('problems', { problems }, () =>
    id === undefined ? problemTable(problems) : problems.map(explanation).join('\n'),
  )
  return OK
}

/** With the image's name. DIRTYLOG has its own exit status; 1 means inconsistencies. */
function failureOf(error: unknown, image: string): Error {
  const named = openingError(error, image)
  if (!(named instanceof XfsError) || named.code === 'DIRTYLOG') return named as Error
  return new CannotRun(named.message, { cause: error })
}

function print(out: Output, report: CheckReport, format: Format): void {
  if (format === 'sarif') out.styled(`${escapeJson(JSON.stringify(sarifOf(report), undefined, 2))}\n`)
  else if (format === 'junit') out.raw(junitOf(report))
  else if (format === 'github') out.raw(githubOf(report))
  else {
    const { failure, ...value } = report
    out.document('check', value, () => textOf(report))
  }
}

/** A line per finding, and their number. */
const textOf = ({ findings, omitted, total }: CheckReport): string =>
  [
    ...findings.map(({ id, note, message }) => `${message}  [${id}${note ? ', harmless' : ''}]`),
    ...omitted.map(({ id, count }) => `and ${count} more  [${id}]`),
    total === 0 ? 'no inconsistencies' : counted(total, 'finding'),
  ].join('\n')
