/** Tests for `XfsImage.find`, as find(1) has them. */
export { type Amount, type Test as FindTest, tests as findTests } from '../namespace/find.ts'
