import { check } from '../check/check.ts'
import { addPaths } from '../check/paths.ts'
import type { CheckResult } from '../check/result.ts'
import type { Device } from '../device/device.ts'
import { type Recovered, recover } from '../recovery/recover.ts'
import { type RepairOptions, type RepairResult, repair } from '../repair/repair.ts'
import { Volume } from '../volume.ts'
import { optionsOf } from './arguments.ts'
import { ImageBlocks } from './blocks.ts'
import type { OpenOptions } from './opening.ts'

/**
 * An XFS filesystem in an image, by the names of its files. This class has what needs no host, for
 * browsers too; `XfsImage` adds files of the host.
 *
 * The methods for single files are synchronous, with the names and forms of Node's `fs`. Those that
 * may take long return a promise, with progress and a signal; until it is settled, other changes
 * fail with BUSY. Each change is sound by itself: an error, a signal or a killed process leaves a
 * filesystem without inconsistencies. Changes are durable after `sync` or `close`.
 *
 * Permission bits are not enforced; inode flags (immutable, append-only) are.
 */
export class XfsImageCore extends ImageBlocks {
  /**
   * Open the filesystem on a device, or in bytes (which are changed in place in memory only, in a
   * copy).
   * @throws XfsError INVAL (not XFS), CORRUPT, BADCRC (the superblock is damaged; for changes also:
   *   marked NEEDSREPAIR, metadata ahead of the log), DIRTYLOG (see `OpenOptions.log`), UNSUPPORTED
   *   (features), IO (the image is truncated)
   */
  static open(target: Device | ArrayBuffer | Uint8Array, options: OpenOptions = {}): XfsImageCore {
    return new XfsImageCore(target, options)
  }

  /**
   * Check the whole filesystem. Changes before it are made durable first.
   * @throws XfsError BUSY also while a stream writes a file
   */
  check(): CheckResult {
    this.requireIdle('check')
    this.requireNoWriter('check')
    this.sync()
    const { device } = this.volume
    // With the superblock as it is now.
    const result = check(device, Volume.open(device).geometry)
    addPaths(device, result)
    return result
  }

  /**
   * Free what an interrupted change left: unlinked inodes, CoW staging blocks, NEEDSREPAIR. The log
   * is replayed before, if it is dirty.
   */
  recover(): Recovered {
    return this.below('recover', (device) => recover(device))
  }

  /**
   * Repair what can be repaired. It is rehearsed in memory, and written only if a check of the
   * result finds no problems (or with `partial`).
   */
  repair(options: RepairOptions = {}): RepairResult {
    optionsOf(options)
    return this.below('repair', (device) => {
      const result = repair(device, options)
      addPaths(device, result.before, result.after)
      return result
    })
  }
}
