import { simulate, fixed, mix } from '../test/workers/simulation.ts'
const bimodal = mix(0.95, fixed(2), fixed(200))
for (const load of [1,2,6]) { let rate=0, useful=0; const N=10
 for (let seed=1; seed<=N; seed++) { const r = simulate({ sources:[{length:bimodal, rate: load*2000/bimodal.mean}], seed, duration: 60000, patience: 1000 }).total; rate+=r.rate/(2000/bimodal.mean)/N; useful+=r.useful/N }
 console.log(load, 'rate', rate.toFixed(3), 'useful', useful.toFixed(3)) }
