export default (text: string): number => text.length
