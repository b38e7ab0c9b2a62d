export default function add ({ a, b }: { a: number, b: number }): number { return a + b }
export function upper (text: string): string { return text.toUpperCase() }
