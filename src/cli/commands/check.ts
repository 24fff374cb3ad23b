import { check as checkImage } from '../../check/check.ts'
import { describe } from '../../check/findings.ts'
import { problemOf } from '../../check/problems.ts'
import type { CheckResult } from '../../check/result.ts'
import { refuseMounted } from '../../device/inuse.ts'
import { XfsError } from '../../errors.ts'
import { dirtyLog } from '../../log/dirty.ts'
import { counted } from '../../util/counted.ts'
import { Volume } from '../../volume.ts'
import { hostPath, type ImageArguments, imageOptions } from '../arguments.ts'
import { CannotRun, type Command, DIRTY_LOG, FAILED, OK } from '../command.ts'
import { withDevice } from '../image.ts'
import type { Output } from '../output.ts'

const check: Command<ImageArguments & { image: string }> = {
  command: 'check <image>',
  describe: 'check the filesystem for inconsistencies, without changing it',
  examples: [['$0 check disk.img', 'exit status 0: no problems, 1: inconsistencies, 2: dirty log, 3: not checked']],
  builder: (yargs) =>
    imageOptions(yargs).positional('image', {
      type: 'string',
      demandOption: true,
      describe: 'image file or block device',
    }),
  handler: (args, { out }) => {
    refuseWritable(args.image)
    return withDevice({ out }, args.image, 'read', args, (device) => {
      let result: CheckResult
      try {
        const volume = Volume.open(device)
        const refusal = dirtyLog(volume)
        if (refusal?.code === 'DIRTYLOG') {
          out.error(`xfskit check: ${args.image}: ${refusal.message}\n`)
          return DIRTY_LOG
        }
        if (refusal) throw refusal
        result = checkImage(device, volume.geometry)
      } catch (error) {
        // Not status 1: that means inconsistencies.
        if (error instanceof XfsError) throw new CannotRun(`${args.image}: ${error.message}`, { cause: error })
        throw error
      }
      printFindings(out, result)
      return result.findings.list.every(({ id }) => problemOf(id).note === true) ? OK : FAILED
    })
  },
}
export default check

/** Not status 1: that means inconsistencies. @throws CannotRun */
function refuseWritable(image: string): void {
  try {
    refuseMounted(hostPath(image), { readOnly: false })
  } catch (error) {
    throw new CannotRun((error as Error).message, { cause: error })
  }
}

/** Print the result of a check: as text one line per finding, as JSON one document. */
function printFindings(out: Output, { findings }: CheckResult): void {
  const list = findings.list.map((finding) => {
    const { fix, note } = problemOf(finding.id)
    return { id: finding.id, fix, note: note === true, message: describe(finding), facts: finding.facts }
  })
  const omitted = Object.fromEntries(findings.omitted)
  out.document('check', { total: findings.total, findings: list, omitted }, () => {
    const lines = list.map(({ id, note, message }) => `${message}  [${id}${note ? ', harmless' : ''}]`)
    for (const [id, count] of findings.omitted) lines.push(`and ${count} more  [${id}]`)
    lines.push(findings.total === 0 ? 'no inconsistencies' : counted(findings.total, 'finding'))
    return lines.join('\n')
  })
}
