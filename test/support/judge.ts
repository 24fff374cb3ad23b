import assert from 'node:assert/strict'
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { checkFindings, mountImage, repairComplaints, skip } from './oracles.ts'

/** Maximum findings in a message. */
const SHOWN = 20

export interface JudgeOptions {
  /** Also let the kernel mount it, list every directory and read every file. */
  readonly kernel?: boolean
}

/**
 * The end of every test that changes an image: our check finds nothing, nor does the newest
 * xfs_repair -n (if it is installed), and on request the kernel.
 * @throws AssertionError
 */
export function judge(image: string, { kernel = false }: JudgeOptions = {}): void {
  const findings = checkFindings(image)
  assert.deepEqual(findings.slice(0, SHOWN), [], `check: ${findings.length} findings`)
  if (skip.newest === false) assert.equal(repairComplaints(image), undefined)
  if (kernel && skip.kernel === false) mountImage(image, readEverything)
}

/** List every directory and read every file, if the kernel permits it. */
export function readEverything(folder: string | Buffer): void {
  for (const name of readdirSync(folder, { encoding: 'buffer' })) {
    const path = Buffer.concat([Buffer.from(folder), Buffer.from('/'), name])
    const entry = lstatSync(path)
    if (entry.isDirectory()) readEverything(path)
    else if (entry.isSymbolicLink()) readlinkSync(path)
    else if (entry.isFile()) readFileSync(path)
  }
}
