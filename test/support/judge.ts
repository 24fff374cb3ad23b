import assert from 'node:assert/strict'
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { checkFindings, mountImage, repairComplaints, skip } from './oracles.ts'

/** The most findings that a message repeats. */
const SHOWN = 20

export interface JudgeOptions {
  /** Also let the kernel mount it, list every directory and read every file. */
  readonly kernel?: boolean
}

/**
 * How every changing test ends: our check is silent, the newest xfs_repair -n too (where it is at
 * hand), and on request the kernel is content.
 * @throws AssertionError
 */
export function judge(image: string, { kernel = false }: JudgeOptions = {}): void {
  const findings = checkFindings(image)
  assert.deepEqual(findings.slice(0, SHOWN), [], `check: ${findings.length} findings`)
  if (skip.newest === false) assert.equal(repairComplaints(image), undefined)
  if (kernel && skip.kernel === false) mountImage(image, readEverything)
}

/** List every directory and read every file, as far as the kernel lets. */
export function readEverything(folder: string | Buffer): void {
  for (const name of readdirSync(folder, { encoding: 'buffer' })) {
    const path = Buffer.concat([Buffer.from(folder), Buffer.from('/'), name])
    const entry = lstatSync(path)
    if (entry.isDirectory()) readEverything(path)
    else if (entry.isSymbolicLink()) readlinkSync(path)
    else if (entry.isFile()) readFileSync(path)
  }
}
