import { simulate, fixed, mix } from '../test/workers/simulation.ts'
const deal = () => { let left: number[] = []; return { mean: 11.9, sample (random: () => number) { if (left.length === 0) left = [...new Array(19).fill(2), 200]; return left.splice(Math.floor(random() * left.length), 1)[0]! } } }
for (const dealt of [false, true]) for (const load of [1,2,6]) { let rate=0, useful=0, refused=0; const N=10
 for (let seed=1; seed<=N; seed++) { const length = dealt ? deal() : mix(0.95, fixed(2), fixed(200)); const r = simulate({ sources:[{length, rate: load*2000/11.9}], seed, duration: 60000, patience: 1000 }).total; rate+=r.rate/(2000/11.9)/N; useful+=r.useful/N; refused += r.refused/r.arrived/N }
 console.log(dealt, load, 'rate', rate.toFixed(3), 'useful', useful.toFixed(3), 'refused', refused.toFixed(3)) }
