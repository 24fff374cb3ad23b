import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import { openFile } from '../../src/device/file.ts'
import { Volume } from '../../src/volume.ts'

/** What our own check has against the image, a line each; nothing where it is sound. */
export function checkComplaints(image: string): string | undefined {
  const device = openFile(image, 'r')
  try {
    const findings = [...check(device, Volume.open(device).geometry).findings.list]
    return findings.length === 0 ? undefined : findings.map((finding) => `${finding.id}: ${describe(finding)}`).join('\n')
  } finally {
    device.close()
  }
}
