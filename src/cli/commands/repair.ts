import { describe } from '../../check/findings.ts'
import { problemOf } from '../../check/problems.ts'
import type { Device } from '../../device/device.ts'
import { overlay } from '../../device/overlay.ts'
import { XfsError } from '../../errors.ts'
import { recoverLog } from '../../log/recover.ts'
import { logState } from '../../log/ring.ts'
import { actions } from '../../repair/plan.ts'
import { type RepairResult, repair as repairImage } from '../../repair/repair.ts'
import { Volume } from '../../volume.ts'
import { changeOptions, type ImageArguments } from '../arguments.ts'
import { type Command, FAILED, OK } from '../command.ts'
import { running, withDevice } from '../image.ts'
import type { Output } from '../output.ts'

/** As xfs_repair -e: something was wrong, and was mended. */
const MENDED = 4

interface Arguments extends ImageArguments {
  readonly image: string
  readonly exitStatus?: boolean
}

const repair: Command<Arguments> = {
  command: 'repair <image>',
  describe: 'mend what follows from inodes and files: btrees, AGFL, counters',
  examples: [
    ['$0 repair -n disk.img', 'what would be done; exit status 1 where something is wrong'],
    ['$0 repair disk.img', 'mend it; with -e exit status 4 where something was wrong'],
  ],
  builder: (yargs) =>
    changeOptions(yargs, { short: false })
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .alias('n', 'dry-run')
      .option('exit-status', { alias: 'e', type: 'boolean', describe: 'exit status 4 where something was mended' })
      .option('f', { type: 'boolean', describe: 'the image is a file (as xfs_repair; makes no difference)' }),
  handler: async (args, { out }) => {
    const dryRun = args.dryRun === true
    const { result, status } = await withDevice({ out }, args.image, dryRun ? 'read' : 'write', args, (device) => {
      const target = dryRun ? overlay(device) : device
      replayLog(args.image, target, out, dryRun)
      const result = repairImage(target, { dryRun })
      const wrong = (findings: RepairResult['after']['findings']): boolean =>
        findings.list.some(({ id }) => problemOf(id).note !== true)
      if (dryRun) return { result, status: result.before.findings.total > 0 ? FAILED : OK }
      if (wrong(result.after.findings)) return { result, status: FAILED }
      return { result, status: args.exitStatus === true && result.changed ? MENDED : OK }
    })
    printRepair(out, result, dryRun)
    return status
  },
}
export default repair

/** What a killed xfskit left in the log is part of the image; what the kernel left there only the kernel can replay. */
function replayLog(image: string, device: Device, out: Output, dryRun: boolean): void {
  const volume = running(() => Volume.open(device, { needsRepair: true }), image)
  if (logState(volume).clean) return
  try {
    const { blocks } = recoverLog(device, volume.geometry)
    out.error(`xfskit repair: ${image}: the log ${dryRun ? 'would be' : 'was'} replayed: ${blocks} blocks\n`)
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
    throw new XfsError('DIRTYLOG', `${image}: the log is dirty: ${error.message}`, { type: 'log' }, { cause: error })
  }
}

function printRepair(out: Output, result: RepairResult, dryRun: boolean): void {
  const found = result.before.findings.list.map((finding) => ({
    id: finding.id,
    message: describe(finding),
    facts: finding.facts,
  }))
  const left = result.after.findings.list.map((finding) => ({
    id: finding.id,
    message: describe(finding),
    facts: finding.facts,
  }))
  const steps = result.plans.flatMap(actions)
  const value = { dryRun, changed: result.changed, found, actions: steps, left: dryRun ? [] : left }
  out.document('repair', value, () => {
    const lines = found.map(({ id, message }) => `${message}  [${id}]`)
    for (const [id, count] of result.before.findings.omitted) lines.push(`and ${count} more  [${id}]`)
    for (const step of steps) lines.push(`${dryRun ? 'would ' : ''}${step}`)
    if (dryRun) lines.push(found.length === 0 ? 'no inconsistencies' : 'nothing was written')
    else if (left.length > 0) lines.push('left:', ...left.map(({ id, message }) => `  ${message}  [${id}]`))
    else lines.push(result.changed ? 'mended; a second check finds nothing' : 'no inconsistencies')
    return lines.join('\n')
  })
}
