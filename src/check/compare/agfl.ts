import { OWNERS } from '../../format/btrecs.ts'
import { type Blocks, blocksOf, fileBlocks, mergeMetadata } from '../expect/blocks.ts'
import { usage } from '../expect/usage.ts'
import { Extents } from '../extents.ts'
import type { Findings } from '../findings.ts'
import type { ObservedAg } from '../observe/observation.ts'
import { userName } from '../owners.ts'

/**
 * Add the blocks of the AGFL to those with an owner. A block with another owner stays with that.
 */
export function claimAgfl(
  { agno, headers, metadata, mappings, length }: ObservedAg,
  findings: Findings,
): { blocks: Blocks; agfl: number[]; agflWrong: boolean } {
  const without = new Extents()
  mergeMetadata(metadata, without)
  const files = fileBlocks(mappings)
  const blocks = blocksOf(length, without, files)
  let agflWrong = !headers.agflUsable || headers.agfl.length !== headers.agf.flcount
  const seen = new Set<number>()
  const agfl: number[] = []
  for (const agbno of headers.agfl) {
    if (seen.has(agbno)) {
      findings.add('agfl.twice', { agno, agbno })
      agflWrong = true
      continue
    }
    seen.add(agbno)
    const owner = ownerOf(blocks, agbno)
    if (owner === undefined) {
      metadata.push(agbno, 1, OWNERS.ag, 0, 0)
      agfl.push(agbno)
    } else {
      findings.add('agfl.owned', { agno, agbno, owner })
      agflWrong = true
    }
  }
  const merged = new Extents()
  mergeMetadata(metadata, merged)
  return { blocks: blocksOf(length, merged, files), agfl, agflWrong }
}

function ownerOf(blocks: Blocks, agbno: number): string | undefined {
  for (const piece of usage(blocks, agbno, agbno + 1)) {
    return piece.use === 'free' ? undefined : userName(blocks, piece)
  }
  return undefined
}
